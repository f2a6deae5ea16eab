"""Models, data, rules and synthesizers in the user's own folder, by the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.system.conftest import Launch

pytestmark = pytest.mark.system


def test_a_model_and_data_of_the_users_own_train(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    folder = tmp_path / "launch-0"
    folder.mkdir()
    (folder / "workers.py").write_text("raise SystemExit('the wrong workers module')\n")
    (folder / "mynet.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))\n"
    )
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    x = rng.normal(size=(300, 3, 4)).astype(np.float32) + 2 * labels[:, None, None]
    np.savez(
        folder / "own.npz", x_train=x[:200], y_train=labels[:200], x_test=x[200:],
        y_test=labels[200:],
    )  # fmt: skip
    run = launch(
        "--model=mynet:make", "--data=own.npz", "--epochs=30", "--batch-size=50", "--lr=0.01"
    )
    assert run.end() == 0, run.output
    assert run.report()["runs"][0]["num_workers"] == 2
    assert run.report()["runs"][0]["test_metrics"]["accuracy"] > 0.9


OWN_RULE = """
from dni_async.decisions.actions import Forward, GiveCredit, Send, Update


class EveryOther:
    "The stages below the head learn from every second batch alone, by a local loss."
    needs_synthesizer, is_exact, anchor_every = True, False, 0

    def __init__(self, config):
        self.batches = 0

    def window(self, asked):
        return asked

    def on_batch(self, batch, *, has_below, has_above):
        forward = Forward(batch.batch_id, keeps_graph=True, returns_gradient=False)
        credit = [GiveCredit((batch.batch_id,))] if has_below else []
        if not has_above:
            return [forward, Update(batch.batch_id, "loss"), *credit]
        self.batches += 1
        update = [Update(batch.batch_id, "synthetic")] if self.batches % 2 else []
        return [forward, Send(batch), *update, *credit]

    def on_returned(self, batch_id, *, has_below):
        return []
"""


def test_a_rule_of_the_users_own_from_another_folder(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    folder = tmp_path / "launch-0"
    folder.mkdir()
    (folder / "myrules.py").write_text(OWN_RULE)
    run = launch("--rule=myrules:EveryOther", "--epochs=8", "--no-baseline")
    assert run.end() == 0, run.output
    (ours,) = run.report()["runs"]
    assert [worker["updates"] for worker in ours["workers"]] == [48, 48, 48, 96]
    assert ours["test_metrics"]["accuracy"] > 0.6
    run.assert_nothing_left()


OWN_SYNTHESIZER = """
import torch


class Constant:
    "Predicts the mean of the gradients that came back for a label."

    def __init__(self, shape, num_labels, optimize, *, device=None):
        self.means = torch.zeros(num_labels, *shape, device=device)

    @property
    def parameters(self):
        return [self.means]

    def predict(self, hidden, labels):
        return self.means[labels]

    def learn(self, hidden, labels, target):
        for label in labels.unique():
            self.means[label] += 0.1 * (target[labels == label].mean(0) - self.means[label])
"""


def test_a_synthesizer_of_the_users_own_from_another_folder(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    folder = tmp_path / "launch-0"
    folder.mkdir()
    (folder / "mysynth.py").write_text(OWN_SYNTHESIZER)
    run = launch(
        "--synthesizer=mysynth:Constant", "--targets=bootstrap", "--epochs=20", "--no-baseline"
    )
    assert run.end() == 0, run.output
    # The same gradient for a whole class:
    assert run.report()["runs"][0]["test_metrics"]["accuracy"] > 0.3
    assert run.report()["runs"][0]["boundaries"] == []  # its learn does not tell what it predicted
    run.assert_nothing_left()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "sgd",
            "rule: must be one of backprop, dni, dgl, fdg, no-bprop, auto, or package.module:Class",
        ),
        ("no.such:Rule", "rule: cannot import 'no.such'"),
        ("json:loads", "rule: making json:loads raised"),
        ("builtins:id", "rule: builtins:id has no needs_synthesizer"),
    ],
)
def test_what_is_no_rule_is_refused(launch: Callable[..., Launch], name: str, said: str) -> None:
    run = launch(f"--rule={name}")
    assert run.end() == 2
    assert said in run.output
