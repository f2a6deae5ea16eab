"""Stages of uneven speed that neither wait for a place nor for an input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import Launch

pytestmark = pytest.mark.system
EPOCHS, NUM_BATCHES = 2, 12  # the digits in batches of 128

SLOW_MODEL = """
import time
from torch import nn

class Slow(nn.Linear):
    def forward(self, x):
        if self.training:
            time.sleep(0.02)
        return super().forward(x)

def make():
    kinds = [nn.Linear] * 3
    kinds[{slow}] = Slow
    return nn.Sequential(kinds[0](64, 32), nn.ReLU(), kinds[1](32, 32), nn.ReLU(), kinds[2](32, 10))
"""


@pytest.fixture
def launch_slow(launch: Callable[..., Launch], tmp_path: Path) -> Callable[..., Launch]:
    """Start a run of three stages, one of which is slow."""

    def start(slow: int, *flags: str) -> Launch:
        folder = tmp_path / "launch-0"
        folder.mkdir()
        (folder / "slow.py").write_text(SLOW_MODEL.format(slow=slow))
        return launch(
            "--model=slow:make", f"--epochs={EPOCHS}", "--no-baseline", "--window=2", *flags
        )

    return start


@pytest.mark.parametrize(("targets", "transport"), [("anchor", "auto"), ("bootstrap", "tcp")])
def test_with_skip_nobody_waits_for_a_slow_head_and_every_batch_is_accounted_for(
    launch_slow: Callable[..., Launch], targets: str, transport: str
) -> None:
    run = launch_slow(2, "--when-full=skip", f"--targets={targets}", f"--transport={transport}")
    assert run.end() == 0, run.output
    ours = run.report()["runs"][0]
    workers = ours["workers"]
    arrived = EPOCHS * NUM_BATCHES
    for worker in workers:
        assert worker["updates"] == arrived  # learnt from, sent up or not
        arrived -= worker["skipped"]
    assert workers[0]["skipped"] + workers[1]["skipped"] > 0
    assert workers[2]["skipped"] == 0
    # What did not reach the head is no progress.
    trained = sum(epoch["num_samples"] for epoch in ours["epochs"])
    assert (workers[2]["updates"] - EPOCHS) * 128 < trained <= workers[2]["updates"] * 128
    assert ours["samples_per_second"] == pytest.approx(trained / ours["train_seconds"], rel=0.01)
    assert "batches skipped, which no rate above counts" in run.output
    run.assert_nothing_left()


def test_with_replay_starved_stages_learn_on_and_no_replay_counts_as_progress(
    launch_slow: Callable[..., Launch],
) -> None:
    run = launch_slow(0, "--when-empty=replay", "--replay-batches=4", "--replay-limit=3")
    assert run.end() == 0, run.output
    ours = run.report()["runs"][0]
    batches = EPOCHS * NUM_BATCHES
    for worker in ours["workers"]:
        assert worker["updates"] == batches + worker["replayed"]
        assert worker["replayed"] <= 3 * batches
    assert ours["workers"][0]["replayed"] == 0  # the source has all the data
    assert all(worker["replayed"] > batches for worker in ours["workers"][1:])
    assert [epoch["num_samples"] for epoch in ours["epochs"]] == [1437] * EPOCHS
    run.assert_nothing_left()


def test_waiting_stages_skip_and_replay_nothing(launch_slow: Callable[..., Launch]) -> None:
    run = launch_slow(1)
    assert run.end() == 0, run.output
    for worker in run.report()["runs"][0]["workers"]:
        assert (worker["updates"], worker["skipped"], worker["replayed"]) == (24, 0, 0)
