"""What plain torch trains, trains in processes, and the network that comes back is the trained one.

Two scripts of a user's, for what can go wrong together goes wrong in one network as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import dni_async
from tests.system.conftest import Launch, Script
from tests.system.test_restarts import kill
from tests.system.test_resume import kill_at_a_checkpoint

pytestmark = pytest.mark.system

NETWORK = """
import json, random, warnings
import numpy as np, torch, dni_async
from torch import nn

rng = np.random.default_rng(0)
y = rng.integers(0, 3, 400)
x = (rng.normal(size=(400, 6)) + 2 * y[:, None]).astype(np.float32)
test = x[300:].copy()
data = (x[:300], y[:300], test, y[300:])


class Block(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.temperature, self.seen = 3.0, [0]
        self.register_buffer("count", torch.zeros(()), persistent=False)


class Scaled(Block):
    "Writes into the data."
    def forward(self, x):
        return self.inner(x.sub_(1.0).mul_(0.5))


class Annealed(Block):
    def forward(self, x):
        if self.training:
            self.temperature = max(0.1, self.temperature * 0.9)
            self.seen.append(len(x))
            self.count += 1
        return torch.tanh(self.inner(x) / self.temperature) + x * self.count.clamp(max=1)


class Activated(Block):
    "Writes into what comes from below, and is left out now and then."
    def forward(self, x):
        x = torch.relu_(x)
        return x if self.training and random.random() < 0.2 else x + self.inner(x)


class Counted(Block):
    def get_extra_state(self):
        return {"temperature": self.temperature}

    def set_extra_state(self, state):
        self.temperature = state["temperature"]

    def forward(self, x):
        self.temperature += self.training
        return self.inner(x)


def network():
    torch.manual_seed(0)
    wrapped = nn.utils.parametrizations.weight_norm(nn.Linear(16, 16))
    return nn.Sequential(
        nn.Sequential(Scaled(6), nn.Linear(6, 16)), Annealed(), Activated(), nn.Linear(16, 16),
        nn.Sequential(wrapped, nn.Dropout(), nn.BatchNorm1d(16)), nn.Sequential(Counted(), nn.Linear(16, 3)),
    )


def accuracy(result):
    with torch.no_grad():
        outputs = result.model(torch.from_numpy(test.copy()))
    return (outputs.argmax(1).numpy() == y[300:]).mean()
"""  # noqa: E501

TRAINS = (
    NETWORK
    + """
if __name__ == "__main__":
    settings = dict(batch_size=50, epochs=6, lr=0.01, progress=False, stages=3, partition="even")
    late = dni_async.train(network(), data, rule="fdg", window=2, **settings)
    exact = dni_async.train(network(), data, rule="backprop", baseline=True, **settings)
    print(json.dumps({
        "data kept": bool((test == x[300:]).all()),
        "accuracy": [[run.accuracy, accuracy(run)] for run in (late, exact)],
        "temperature": [run.model[1].temperature for run in (late, exact)],
        "counts": [[len(run.model[1].seen), run.model[1].count.item(),
                    run.model[5][0].temperature, run.model[4][2].num_batches_tracked.item()]
                   for run in (late, exact)],
        "lockstep": [[epoch["train_loss"], epoch["test_loss"]] for epoch in exact.epochs],
        "baseline": [[epoch["train_loss"], epoch["test_loss"]]
                     for epoch in exact.report["runs"][1]["epochs"]],
    }))
"""
)


def test_a_network_that_does_what_networks_do_comes_back_whole(
    script: Callable[..., Script],
) -> None:
    """By replays, and in lockstep, which equals the baseline bit for bit."""
    run = script(TRAINS)
    assert run.end(deadline_s=240) == 0, run.output
    told: dict[str, Any] = json.loads(run.output.splitlines()[-1])
    assert told["data kept"]
    for reported, returned in told["accuracy"]:
        assert returned == pytest.approx(reported, abs=0.011)  # one sample of a hundred
        assert reported > 0.8
    num_batches = 6 * 6
    assert told["temperature"] == [pytest.approx(max(0.1, 3.0 * 0.9**num_batches))] * 2
    assert told["counts"] == [[1 + num_batches, num_batches, 3.0 + num_batches, num_batches]] * 2
    assert told["lockstep"] == told["baseline"]
    assert run.left() == []


def test_a_network_that_would_train_otherwise_is_refused_before_any_process_starts(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    folder = tmp_path / "launch-0"
    folder.mkdir()
    (folder / "mynet.py").write_text(
        "from torch import nn\n"
        "class Skips(nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        hidden = self[0](x.flatten(1))\n"
        "        return self[2](hidden + self[1](hidden) if hidden.sum() < 1e9 else hidden)\n"
        "def make():\n"
        "    return Skips(nn.Sequential(nn.Flatten(), nn.Linear(64, 8)), nn.Linear(8, 8),\n"
        "                 nn.Linear(8, 10))\n"
    )
    run = launch("--model=mynet:make")
    assert run.end() == 2, run.output
    assert "Error: model: Skips has a forward of its own, so in training it is not" in run.output
    assert not (run.run_dir / "logs").exists()
    run.assert_nothing_left()


COUNTED = """
import torch
from torch import nn

class Counted(nn.Module):
    "Anneals by what it has seen, which it keeps as plain attributes."
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(64, 64)
        self.seen, self.last = 0, [torch.zeros(1, dtype=torch.bfloat16), None]

    def forward(self, x):
        if self.training:
            self.seen += 1
            self.last = [torch.full((1,), self.seen, dtype=torch.bfloat16), {"rows": len(x)}]
        return torch.relu(self.inner(x) / (1 + 100 / (1 + self.seen)))

def make():
    return nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(64, 64)), Counted(), nn.Linear(64, 10))
"""  # noqa: E501


def test_attributes_that_training_changes_outlive_the_death_of_worker_and_launcher(
    launch: Callable[..., Launch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run counts every batch once; a replaced worker, those up to its last checkpoint."""
    for count in range(2):
        (tmp_path / f"launch-{count}").mkdir()
        (tmp_path / f"launch-{count}" / "counted.py").write_text(COUNTED)
    monkeypatch.syspath_prepend(tmp_path / "launch-0")
    flags = ["--model=counted:make", "--batch-size=32", "--no-baseline", "--checkpoint-every=20"]
    run = launch(*flags, "--epochs=30")
    kill_at_a_checkpoint(run, 60)
    resumed = launch("--resume", str(run.run_dir))
    pids = resumed.worker_pids()
    resumed.wait_for("epoch +12 ")
    kill(resumed, pids, 1)
    assert resumed.end(120) == 0, resumed.output
    assert "network that comes back has" not in resumed.output
    report = resumed.report()
    num_train = report["data"]["num_train"]
    total, counted = 30 * -(-num_train // 32), dni_async.load(run.run_dir)[1]
    (restart,) = report["runs"][0]["restarts"]
    assert restart["stage"] == 1
    assert total - 200 <= counted.seen <= total, counted.seen
    last, rows = counted.last
    assert last.dtype == torch.bfloat16
    assert last.item() == torch.tensor(float(counted.seen)).bfloat16()
    assert rows == {"rows": num_train % 32 or 32}
    resumed.assert_nothing_left()
