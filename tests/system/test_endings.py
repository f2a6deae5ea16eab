"""However a run ends, it ends soon, with the right code, and leaves nothing behind.

Signals, and what becomes of what it prints: test_ways.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.system.conftest import Launch

pytestmark = pytest.mark.system
slow = pytest.mark.slow
LONG = ["--epochs=100000", "--no-baseline", "--width=64", "--max-restarts=0"]


@pytest.mark.parametrize("stage", [0, pytest.param(1, marks=slow), 3])
def test_a_killed_worker_is_named_at_once(launch: Callable[..., Launch], stage: int) -> None:
    run = launch(*LONG)
    pids = run.worker_pids()
    run.wait_for("epoch   2")
    os.kill(pids[stage], signal.SIGKILL)
    assert run.end(30) == 128 + signal.SIGKILL
    assert f"stage {stage} (cpu, pid {pids[stage]}) was killed by SIGKILL" in run.output
    assert run.report()["status"] == "failed"
    run.assert_nothing_left()


def test_a_launcher_killed_together_with_its_fork_server_leaves_no_worker(
    launch: Callable[..., Launch],
) -> None:
    run = launch(*LONG)
    pids = run.worker_pids()
    run.wait_for("epoch   2")
    fork_server = psutil.Process(pids[0]).parent()
    assert fork_server is not None
    run.process.kill()
    fork_server.kill()
    assert run.left_after(10) == []


def test_a_second_run_needs_leave_to_overwrite_the_first(launch: Callable[..., Launch]) -> None:
    first = launch("--epochs=1", "--no-baseline")
    assert first.end() == 0
    model = (first.run_dir / "model.safetensors").stat().st_mtime_ns
    refused = _again(launch, first.run_dir)
    assert refused.end() == 2
    assert "already holds a run" in refused.output
    assert (first.run_dir / "model.safetensors").stat().st_mtime_ns == model
    allowed = _again(launch, first.run_dir, "--overwrite")
    assert allowed.end() == 0, allowed.output
    assert (first.run_dir / "model.safetensors").stat().st_mtime_ns > model


def test_a_failing_stage_has_the_last_word(launch: Callable[..., Launch], tmp_path: Path) -> None:
    folder = tmp_path / "launch-0"
    folder.mkdir()
    (folder / "fails.py").write_text(
        "from torch import nn\n"
        "class Fails(nn.Linear):\n"
        "    count = 0\n"
        "    def forward(self, x):\n"
        "        self.count += self.training\n"
        "        if self.count == 5:\n"
        "            raise RuntimeError('the fifth batch is too much')\n"
        "        return super().forward(x)\n"
        "def make():\n"
        "    return nn.Sequential(nn.Linear(64, 16), nn.ReLU(), Fails(16, 16), nn.Linear(16, 10))\n"
    )
    run = launch("--model=fails:make")
    assert run.end() == 1
    last = run.output.rstrip().splitlines()[-1]
    assert last == "stage 1 (cpu): RuntimeError: the fifth batch is too much"
    assert "Traceback" in run.output
    assert "in forward" in run.output
    run.assert_nothing_left()


def test_a_non_finite_gradient_names_stage_batch_and_tensor(
    launch: Callable[..., Launch],
) -> None:
    run = launch("--lr=1e30", "--optimizer=sgd", "--no-baseline")
    assert run.end() == 1
    assert "NonFiniteError: stage " in run.output.splitlines()[-1]
    assert "batch " in run.output.splitlines()[-1]
    run.assert_nothing_left()


def _again(launch: Callable[..., Launch], run_dir: Path, *flags: str) -> Launch:
    return launch("--epochs=1", "--no-baseline", "--layers=2", *flags, run_dir=run_dir)
