"""Runs by losses and on targets of every kind, with real processes, from a script of a user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.system

REGRESSION = """
import copy, numpy as np, torch, dni_async
from torch import nn
rng = np.random.default_rng(0)
x = rng.normal(size=(300, 6)).astype(np.float32)
y = np.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:3]          # float32 [N, 1]
data = (x[:200], y[:200]), (x[200:], y[200:])
torch.manual_seed(1)
net = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
delta = 0.3

def own_huber(outputs, targets):
    return nn.functional.huber_loss(outputs, targets, delta=delta)

settings = dict(epochs=3, batch_size=20, lr=0.01, progress=False)
result = dni_async.train(
    net, data, loss=nn.HuberLoss(delta=0.3), rule="backprop", baseline=True, run_dir="exact",
    **settings
)
ours, *others = [
    [(epoch["train_loss"], epoch["test_loss"]) for epoch in run["epochs"]]
    for run in result.report["runs"]
]
assert others and all(theirs == ours for theirs in others), (ours, others)
assert result.predict(x[:5]).shape == (5, 1)
with torch.no_grad():
    found = own_huber(result.model(torch.from_numpy(x[200:])), torch.from_numpy(y[200:]))
assert abs(found.item() - ours[-1][1]) < 1e-6
assert "test_accuracy" not in result.metrics
again = dni_async.load("exact", model=copy.deepcopy(net))
assert torch.equal(again(torch.ones(2, 6)), result.model(torch.ones(2, 6)))
result = dni_async.train(None, data, loss=own_huber, width=32, layers=3, **settings)
first, *_, last = result.epochs
assert last["test_loss"] < first["test_loss"]
print("numbers done")
"""

LABELS = """
import numpy as np, torch, dni_async
from torch import nn
from tests.own_losses import segmenter
rng = np.random.default_rng(0)
x = rng.normal(size=(300, 1, 8, 8)).astype(np.float32)
pixels = (x[:, 0] > 0).astype(int) + (x[:, 0] > 1)
pixels[:, :, 7] = 255                                  # a border that does not count
weights = torch.tensor([1.0, 2.0, 4.0])
settings = dict(epochs=3, batch_size=20, lr=0.01, progress=False)
result = dni_async.train(
    segmenter, ((x[:200], pixels[:200]), (x[200:], pixels[200:])),
    loss=nn.CrossEntropyLoss(weight=weights, ignore_index=255), **settings
)
outputs = torch.from_numpy(result.predict(x[200:]))
with torch.no_grad():
    found = nn.CrossEntropyLoss(weight=weights, ignore_index=255)(
        outputs, torch.from_numpy(pixels[200:])
    )
assert abs(found.item() - result.epochs[-1]["test_loss"]) < 1e-5
assert found < result.epochs[0]["test_loss"]
several = np.stack([x.mean((1, 2, 3)) > 0, x[:, 0, 0, 0] > 0, x[:, 0, 1, 1] > 1], 1)
result = dni_async.train(
    None, ((x[:200], several[:200]), (x[200:], several[200:])), layers=3, width=32,
    loss=nn.BCEWithLogitsLoss(pos_weight=weights), **settings
)
first, *_, last = result.epochs
assert last["test_loss"] < first["test_loss"]
assert result.predict(x[:4]).shape == (4, 3)
print("labels done")
"""


@pytest.mark.parametrize("program", [REGRESSION, LABELS], ids=["numbers", "labels"])
def test_every_kind_of_target_trains(script: Callable[..., Any], program: str) -> None:
    run = script(program)
    assert run.end() == 0, run.output
    assert "done" in run.output
    assert run.left() == []
