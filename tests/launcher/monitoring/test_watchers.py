"""Who follows a run: only those asked for, and none that costs the run."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dni_async import ConfigError, RunConfig
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.monitoring.watchers import WatchedDisplay, open_watchers
from dni_async.launcher.report.curves import CurvePoint
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult
from dni_async.launcher.report.watcher import Watcher
from dni_async.wire.messages import Progress
from tests.launcher.told import EPOCH, decoupled, point, progress


class Diary(Watcher):
    """A watcher that keeps what it hears; is_full: it cannot write."""

    def __init__(self, *, is_full: bool = False) -> None:
        self.heard: list[object] = []
        self.is_full = is_full

    def begin(self, run: RunResult) -> None:
        """A network is trained."""
        self._write(run.name)

    def progress(self, progress: Progress) -> None:
        """A worker's counters."""
        self._write(progress.stage)

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """An epoch."""
        self._write((run.name, epoch.epoch))

    def point(self, run: RunResult, point: CurvePoint) -> None:
        """The next point of a curve."""
        self._write((run.name, "point", point.updates))

    def trained(self, run: RunResult, num_batches: int) -> None:
        """A baseline's batches."""
        self._write((run.name, "trained", num_batches))

    def died(self, restart: RestartResult) -> None:
        """A worker is gone."""
        self._write(("died", restart.stage))

    def recovered(self, restart: RestartResult) -> None:
        """A worker is replaced."""
        self._write(("recovered", restart.stage, restart.seconds))

    def end(self, report: Mapping[str, Any]) -> None:
        """The run is over."""
        self._write(report["status"])

    def _write(self, what: object) -> None:
        if self.is_full:
            raise OSError("no space")
        self.heard.append(what)


def test_watchers_hear_what_the_display_shows() -> None:
    text = io.StringIO()
    diary = Diary()
    display = WatchedDisplay(Display(Console(file=text)), [diary])
    run = decoupled(EPOCH)
    display.begin(run)
    display.started(0.5, {0: 11, 1: 12})
    display.progress(progress(1))
    display.point(run, point(1, 8))
    display.epoch(run, EPOCH)
    restart = RestartResult(1, "killed", 0.5)
    display.died(restart)
    restart.seconds = 0.25
    display.recovered(restart)
    display.trained(run, 7)
    display.note("a sentence")
    display.end({"status": "finished"})
    assert diary.heard == [
        *(
            "dni",
            1,
            ("dni", "point", 8),
            ("dni", 1),
            ("died", 1),
            ("recovered", 1, 0.25),
            ("dni", "trained", 7),
        ),
        "finished",
    ]
    shown = text.getvalue()
    assert "2 workers started in 0.50 s" in shown
    assert "epoch   1" in shown
    assert "a sentence" in shown


def test_a_watcher_that_cannot_write_is_left_out_and_said_so_once() -> None:
    text = io.StringIO()
    diary, full = Diary(), Diary(is_full=True)
    display = WatchedDisplay(Display(Console(file=text)), [full, diary])
    for stage in range(3):
        display.progress(progress(stage))
    assert diary.heard == [0, 1, 2]
    assert text.getvalue() == "Diary shows no more: no space\n"


def test_it_is_said_which_logger_the_end_waits_for() -> None:
    heard: list[object] = []

    class Waiting(Display):
        def waiting(self, text: str) -> None:
            heard.append(text)

    logger, other = Diary(), Diary()
    logger.title, logger.heard, other.heard = "MLflow", heard, heard
    WatchedDisplay(Waiting(Console(file=io.StringIO())), [logger, other]).end({"status": "stopped"})
    assert heard == ["telling MLflow the rest", "stopped", "", "stopped"]


def test_a_logger_that_is_switched_off_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text("raise SystemError('is imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with open_watchers(RunConfig(wandb="mine"), tmp_path / "tensorboard") as watchers:
        assert watchers.all == []
    assert watchers.notes == [
        "W&B: nothing is logged, as its mode is disabled; set WANDB_MODE=online"
    ]


def test_nobody_watches_unasked(tmp_path: Path) -> None:
    with open_watchers(RunConfig(), tmp_path / "tensorboard") as watchers:
        assert watchers.all == watchers.notes == []


@pytest.mark.parametrize(
    ("config", "package", "sentence"),
    [
        (
            RunConfig(metrics_port=0),
            "prometheus_client",
            r"metrics_port: .* not installed here; pip install 'dni-async\[metrics\]'",
        ),
        (
            RunConfig(tensorboard=True),
            "tensorboard",
            r"tensorboard: .* not installed here; pip install 'dni-async\[tensorboard\]'",
        ),
        (
            RunConfig(dashboard=True),
            "uvicorn",
            r"dashboard: .* not installed here; pip install 'dni-async\[dashboard\]'",
        ),
        (
            RunConfig(mlflow="runs"),
            "mlflow",
            r"mlflow: .* not installed here; pip install 'dni-async\[mlflow\]'",
        ),
        (
            RunConfig(wandb="mine"),
            "wandb",
            r"wandb: .* not installed here; pip install 'dni-async\[wandb\]'",
        ),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(
    config: RunConfig,
    package: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "dni_async.launcher.monitoring.prometheus",
        "dni_async.launcher.monitoring.tensorboard",
        "dni_async.launcher.dashboard.server",
    ):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # as Python has it where there is none
    with pytest.raises(ConfigError, match=sentence), open_watchers(config, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
