"""A worker that lives and does nothing is shown as it stands, and replaced."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.system.conftest import Launch

pytestmark = pytest.mark.system
COMMON = ["--no-baseline", "--width=64", "--anchor-every=8"]
GROWTH = 2**24  # bytes that a worker may grow by while nothing is wrong
HANGS = """
import os
import threading

from torch import nn


class Hangs(nn.Linear):
    \"\"\"Waits for ever at its twentieth batch, in the first process that gets there.\"\"\"

    count = 0

    def forward(self, x):
        self.count += self.training
        if self.count == 20 and not os.path.exists("it-hung"):
            open("it-hung", "x").close()
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        return super().forward(x)


def make():
    return nn.Sequential(nn.Linear(64, 16), nn.ReLU(), Hangs(16, 16), nn.Linear(16, 10))
"""


def decoupled(run: Launch) -> dict[str, Any]:
    """The decoupled run's row of the report."""
    row: dict[str, Any] = run.report()["runs"][0]
    return row


def test_a_worker_that_hangs_is_shown_with_its_stack_and_replaced(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    folder = tmp_path / "launch-0"
    folder.mkdir()
    (folder / "hangs.py").write_text(HANGS)
    run = launch("--model=hangs:make", "--no-baseline", "--epochs=20", "--stuck-after-s=1.5")
    pids = run.worker_pids()
    run.wait_for("stage 1 trains again")
    assert run.end() == 0, run.output
    shown = run.output.partition(f"stage 1 (cpu, pid {pids[1]}) was stuck for 1.5 s: it stands at")
    assert 'hangs.py", line 19 in forward' in shown[2]
    assert shown[2].index("in forward") < shown[2].index("was killed; its log is")
    (restart,) = decoupled(run)["restarts"]
    assert restart["stage"] == 1
    assert "was stuck for 1.5 s and was killed" in restart["cause"]
    assert [epoch["epoch"] for epoch in decoupled(run)["epochs"]] == list(range(1, 21))
    run.assert_nothing_left()


def test_a_worker_that_is_stopped_for_good_is_replaced(launch: Callable[..., Launch]) -> None:
    run = launch(*COMMON, "--epochs=40", "--stuck-after-s=1.5")
    pids = run.worker_pids()
    run.wait_for("epoch +2 ")
    os.kill(pids[2], signal.SIGSTOP)
    run.wait_for("stage 2 trains again")
    assert run.end() == 0, run.output
    said = f"stage 2 (cpu, pid {pids[2]}) was stuck for 1.5 s: its process is stopped"
    assert said in run.output
    assert len(decoupled(run)["restarts"]) == 1
    run.assert_nothing_left()


@pytest.mark.slow
def test_one_whose_batches_take_milliseconds_is_found_to_stand_still_in_ten_seconds(
    launch: Callable[..., Launch],
) -> None:
    run = launch(*COMMON, "--epochs=400", "--checkpoint-every=2s")
    pids = run.worker_pids()
    run.wait_for("epoch +60 ")
    os.kill(pids[1], signal.SIGSTOP)
    began = time.monotonic()
    run.wait_for("stage 1 trains again")
    assert time.monotonic() - began < 30.0
    said = re.search(r"stage 1 \(cpu, pid \d+\) was stuck for (\d+)", run.output)
    assert said is not None
    assert 10 <= int(said[1]) < 30
    assert run.end(120) == 0, run.output
    assert len(decoupled(run)["restarts"]) == 1
    run.assert_nothing_left()


def test_a_stuck_worker_that_nobody_can_replace_ends_the_run(
    launch: Callable[..., Launch],
) -> None:
    run = launch("--no-baseline", "--rule=backprop", "--epochs=100000", "--stuck-after-s=1.5")
    pids = run.worker_pids()
    run.wait_for("epoch +2 ")
    os.kill(pids[1], signal.SIGSTOP)
    assert run.end() == 128 + signal.SIGKILL
    assert "was stuck for 1.5 s and was killed" in run.output.splitlines()[-1]
    run.assert_nothing_left()


def test_workers_that_wait_for_another_are_not_stuck(launch: Callable[..., Launch]) -> None:
    """All others wait longer for the stopped one than a worker may be silent."""
    run = launch(*COMMON, "--epochs=40", "--stuck-after-s=2", "--max-restarts=1")
    pids = run.worker_pids()
    run.wait_for("epoch +2 ")
    os.kill(pids[0], signal.SIGSTOP)
    run.wait_for("stage 0 trains again")
    assert run.end() == 0, run.output
    assert [restart["stage"] for restart in decoupled(run)["restarts"]] == [0]
    run.assert_nothing_left()


def stop_for(seconds: float, pid: int, *, beside: int) -> None:
    """Stop the process for that long; beside: another one, which must live on."""
    os.kill(pid, signal.SIGSTOP)
    try:
        gone, _ = psutil.wait_procs([psutil.Process(beside)], timeout=seconds)
        assert not gone
    finally:
        os.kill(pid, signal.SIGCONT)


def memory_of(pids: dict[int, int]) -> int:
    """Bytes of the worker that holds most."""
    return max(psutil.Process(pid).memory_info().rss for pid in pids.values())


def wait_for_next_epoch(run: Launch) -> None:
    """Until one more has ended than was known of."""
    ended = [int(number) for number in re.findall(r" epoch +(\d+) ", run.output)]
    run.wait_for(rf" epoch +{max(ended) + 1} ")


@pytest.mark.parametrize("seconds", [1.5, pytest.param(8.0, marks=pytest.mark.slow)])
def test_stages_that_are_stopped_for_a_while_are_waited_for(
    launch: Callable[..., Launch], seconds: float
) -> None:
    run = launch(*COMMON, "--epochs=40")
    pids = run.worker_pids()
    run.wait_for("epoch +2 ")
    before = memory_of(pids)
    for stage in (0, 1, 3):
        stop_for(seconds, pids[stage], beside=pids[2])
        wait_for_next_epoch(run)
    assert run.end() == 0, run.output
    row = decoupled(run)
    assert row["restarts"] == []
    assert [epoch["epoch"] for epoch in row["epochs"]] == list(range(1, 41))
    assert len({epoch["num_samples"] for epoch in row["epochs"]}) == 1
    assert row["test_metrics"]["accuracy"] > 0.9
    assert max(worker["peak_rss_bytes"] for worker in row["workers"]) < before + GROWTH
    run.assert_nothing_left()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_stage_that_is_four_times_slower_for_a_minute_slows_the_run_and_no_more(
    launch: Callable[..., Launch],
) -> None:
    """It may run for a quarter of the time."""
    run = launch(*COMMON, "--epochs=100000", "--stuck-after-s=5")
    pids = run.worker_pids()
    run.wait_for("epoch +2 ")
    before = memory_of(pids)
    for _ in range(60):
        for _ in range(16):
            stop_for(0.045, pids[1], beside=pids[2])
            psutil.wait_procs([psutil.Process(pids[2])], timeout=0.015)
        wait_for_next_epoch(run)
    assert memory_of(pids) < before + GROWTH
    wait_for_next_epoch(run)
    run.interrupt()
    assert run.end() == 128 + signal.SIGINT
    row = decoupled(run)
    assert row["restarts"] == []
    assert len({epoch["num_samples"] for epoch in row["epochs"]}) == 1
    run.assert_nothing_left()
