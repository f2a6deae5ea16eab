"""The end of a run: what is known is told, and what can be written anywhere is written."""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import safetensors.torch

from tests.marked_process import DEADLINE_S
from tests.system.conftest import Launch, Script

pytestmark = pytest.mark.system
FIGURES = r"dni +3 +3 .* \d+\.\d\d%"  # the row of the run in the table at its end


def fill(disk: Path) -> Path:
    """Leave no room on it."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def moved(run: Launch, what: str) -> Path:
    """Where it is, as the run says at last."""
    (place,) = re.findall(rf"{what}: \S+ cannot be written: .*; it is (\S+)", run.output)
    return Path(place)


def test_a_full_disk_costs_no_figure_and_no_weight(
    launch: Callable[..., Launch], small_disk: Path
) -> None:
    """Events, metrics and checkpoints end nothing either, nor does the log of a baseline."""
    run = launch(
        "--stages=3", "--epochs=30", "--record-events", "--checkpoint-every=20",
        run_dir=small_disk / "run",
    )  # fmt: skip
    run.wait_for("epoch +5 ")
    fill(small_disk)
    assert run.end(90) == 1, run.output
    assert "Traceback" not in run.output
    assert len(re.findall(r"epoch +30 ", run.output)) == 3  # two of baselines
    assert re.search(FIGURES, run.output)
    assert len(re.findall(r"baseline-\S+ +1 +\d .*\d\d%", run.output)) == 2
    for line in run.output.splitlines()[-2:]:
        assert "No space left on device; it is" in line
    network = safetensors.torch.load_file(moved(run, "model"))
    assert all(weight.isfinite().all() for weight in network.values())
    assert '"status": "finished"' in moved(run, "report").read_text()
    assert not list(run.run_dir.glob("*.part"))
    run.assert_nothing_left(but=moved(run, "report").parent)


def test_files_that_may_not_be_large_cost_no_figure(launch: Callable[..., Launch]) -> None:
    """Each stage's weights fit, and the network does not; the system's signal ends nobody."""
    run = launch("--stages=3", "--layers=3", "--width=128", "--epochs=30", "--no-baseline")
    run.wait_for("epoch +2 ")
    for pid in (run.process.pid, *run.worker_pids().values()):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    assert run.end(60) == 1, run.output
    assert re.search(FIGURES, run.output)
    said = f"File too large; the stages' weights are in {run.run_dir}/weights"
    assert run.output.splitlines()[-1].endswith(said), run.output
    assert len(list(run.run_dir.glob("weights/stage-*.safetensors"))) == 3
    assert run.report()["status"] == "finished"
    run.assert_nothing_left()


def test_two_interrupts_leave_a_report(launch: Callable[..., Launch]) -> None:
    run = launch("--no-baseline", "--epochs=100000")
    pids = run.worker_pids()
    run.wait_for("epoch +3 ")
    os.kill(pids[1], signal.SIGSTOP)  # it is waited for
    run.process.send_signal(signal.SIGINT)
    psutil.wait_procs([psutil.Process(pids[0])], timeout=DEADLINE_S)
    run.process.send_signal(signal.SIGINT)
    assert run.end(30) == 130, run.output
    assert run.report()["status"] == "interrupted"
    assert len(run.report()["runs"][0]["epochs"]) >= 3
    assert not (run.run_dir / "weights").exists()
    run.assert_nothing_left()


def test_a_hang_up_when_all_is_trained_costs_no_weight(launch: Callable[..., Launch]) -> None:
    """The baseline is not begun, and the network is whole."""
    run = launch("--epochs=5")
    run.wait_for("epoch +5 ")
    run.process.send_signal(signal.SIGHUP)
    assert run.end(30) == 129, run.output
    report = run.report()
    assert report["status"] == "interrupted"
    assert [epoch["epoch"] for epoch in report["runs"][0]["epochs"]] == [1, 2, 3, 4, 5]
    assert safetensors.torch.load_file(run.run_dir / "model.safetensors")
    assert re.search(r"dni +5 of 5 +4 +4 .* \d+\.\d\d%", run.output)
    run.assert_nothing_left()


SCRIPT = """
import warnings
from pathlib import Path
import numpy as np
from torch import nn
import dni_async

class Filling:
    def on_epoch(self, run, epoch):
        if epoch["epoch"] != 2:
            return
        with open("DISK/ballast", "ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

def main():
    network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3))
    x, y = np.random.rand(400, 20).astype("float32"), np.arange(400) % 3
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = dni_async.train(
            network, (x, y, x, y), epochs=20, batch_size=20, run_dir="DISK/run", baseline=False,
            callbacks=[Filling()],
        )
    print(len(result.epochs), "epochs", result.predict(x).shape)
    for each in caught:
        print(each.category.__name__, each.message)

if __name__ == "__main__":
    main()
"""


def test_a_caller_in_python_has_the_network_whatever_the_disk_takes(
    script: Callable[..., Script], small_disk: Path
) -> None:
    run = script(SCRIPT.replace("DISK", str(small_disk)))
    assert run.end(90) == 0, run.output
    assert "20 epochs (400" in run.output
    for what in ("model", "report"):
        assert re.search(rf"RuntimeWarning {what}: .*No space left on device; it is", run.output)
