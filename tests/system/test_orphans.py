"""When the launcher is killed, its workers leave soon, with a checkpoint where those are made."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable

import psutil
import pytest
import safetensors.torch
import torch

from tests.marked_process import DEADLINE_S
from tests.system.conftest import Launch

pytestmark = pytest.mark.system
# Epochs of half a second and more, so that the launcher's end falls into one.
COMMON = ["--no-baseline", "--layers=3", "--width=64", "--batch-size=4", "--epochs=4"]
NEVER = "--checkpoint-every=99999999"  # but when the launcher is gone
SOON_S = 10.0


def kill_the_launcher(run: Launch) -> None:
    """In its third epoch; all others are to leave by themselves."""
    run.wait_for("epoch +2 ")
    run.process.kill()
    run.process.wait()
    assert run.left_after(SOON_S) == []
    assert list(run.temporary.iterdir()) == []


def whole_checkpoints(run: Launch) -> list[int]:
    """The batch ids of those that are whole."""
    folders = run.run_dir.glob("checkpoints/*")
    return sorted(int(folder.name) for folder in folders if folder.name.isdecimal())


@pytest.mark.parametrize(
    "flags",
    [
        ["--rule=dni"],
        pytest.param(["--rule=fdg", "--transport=tcp"], marks=pytest.mark.slow),
        ["--unlock=forward"],
        pytest.param(  # whose epochs are the shortest
            ["--when-full=skip", "--when-empty=replay", "--batch-size=1"], marks=pytest.mark.slow
        ),
        pytest.param(["--stages=1"], marks=pytest.mark.slow),
    ],
)
def test_the_workers_of_a_killed_launcher_leave_a_last_checkpoint(
    launch: Callable[..., Launch], flags: list[str]
) -> None:
    run = launch(*COMMON, NEVER, *flags)
    kill_the_launcher(run)
    assert whole_checkpoints(run) == []
    resumed = launch("--resume", str(run.run_dir))
    assert resumed.end() == 0, resumed.output
    assert "resumed from checkpoint" in resumed.output
    # A source that skips may be through with it before the head has told of the one before.
    assert re.search(": epoch [34], batch ", resumed.output), resumed.output
    row = resumed.report()["runs"][0]
    assert [epoch["epoch"] for epoch in row["epochs"]] == [1, 2, 3, 4]
    resumed.assert_nothing_left()


def test_epochs_that_a_launcher_slept_through_are_in_the_report(
    launch: Callable[..., Launch],
) -> None:
    """It stands still for some, and is killed then: the last checkpoint is of a later epoch."""
    run = launch("--no-baseline", "--epochs=100000", "--checkpoint-every=10")
    run.wait_for("epoch   3")
    run.process.send_signal(signal.SIGSTOP)
    batches = 12 + 2  # of an epoch and its test
    seen = 10 * batches
    deadline = time.monotonic() + DEADLINE_S
    while not any(int(each.stem) > seen for each in run.run_dir.glob("checkpoints/*.part")):
        assert time.monotonic() < deadline
        psutil.wait_procs([psutil.Process(run.process.pid)], timeout=0.01)
    run.process.kill()
    run.process.wait()
    assert run.left_after(SOON_S) == []
    resumed = launch("--resume", str(run.run_dir))
    said = resumed.wait_for(r"resumed from checkpoint (\d+): epoch (\d+)")
    assert int(said.group(2)) > 8
    resumed.wait_for(f"epoch +{int(said.group(2)) + 1} ")
    resumed.interrupt()
    assert resumed.end() == 130, resumed.output
    epochs = resumed.report()["runs"][0]["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert all(epoch["num_tested"] and epoch["train_loss"] for epoch in epochs)


@pytest.mark.slow
def test_a_lockstep_run_loses_nothing_with_its_launcher(launch: Callable[..., Launch]) -> None:
    settings = [*COMMON, "--rule=backprop", "--threads-per-worker=1", "--partition=even", NEVER]
    whole = launch(*settings)
    assert whole.end() == 0, whole.output
    run = launch(*settings)
    kill_the_launcher(run)
    resumed = launch("--resume", str(run.run_dir))
    assert resumed.end() == 0, resumed.output
    expected = safetensors.torch.load_file(whole.run_dir / "model.safetensors")
    trained = safetensors.torch.load_file(run.run_dir / "model.safetensors")
    for name, weight in expected.items():
        assert torch.equal(trained[name], weight), name


def test_a_run_whose_launcher_is_killed_goes_on_from_what_was_whole(
    launch: Callable[..., Launch],
) -> None:
    """Also where a worker cannot take leave: it is stopped, and killed with the others in the end.

    Until then nobody else may work in the folder.
    """
    run = launch(*COMMON, "--checkpoint-every=100")
    pids = run.worker_pids()
    run.wait_for("epoch +2 ")
    os.kill(pids[1], signal.SIGSTOP)
    run.process.kill()
    run.process.wait()
    refused = launch("--resume", str(run.run_dir))
    assert refused.end() == 2
    assert "or the workers of one that was killed are about to leave it" in refused.output
    assert run.left_after(SOON_S) == []
    assert whole_checkpoints(run)
    resumed = launch("--resume", str(run.run_dir))
    assert resumed.end() == 0, resumed.output
    row = resumed.report()["runs"][0]
    assert [epoch["epoch"] for epoch in row["epochs"]] == [1, 2, 3, 4]
    resumed.assert_nothing_left()


def test_without_checkpoints_they_leave_at_once(launch: Callable[..., Launch]) -> None:
    run = launch(*COMMON)
    kill_the_launcher(run)
    assert not (run.run_dir / "checkpoints").exists()
