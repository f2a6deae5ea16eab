"""What a logger is told of a run, and of one that goes on."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dni_async.launcher.monitoring.loggers.log import Ending, Facts, Row, keep, kept_in
from dni_async.launcher.monitoring.loggers.watching import LoggedRun
from dni_async.launcher.report.building import shown_settings
from dni_async.launcher.report.curves import Told
from dni_async.launcher.report.results import RestartResult, RunResult
from tests.launcher.monitoring.loggers.test_telling import Diary
from tests.launcher.told import EPOCH, baseline, decoupled, plan, point

PLAN = {"num_train_batches": 4, "num_stages": 2, "dataset_name": "digits", "batch_size": 32}


class Curious(Diary):
    """Keeps the facts too."""

    facts: Facts

    def open(self, facts: Facts) -> None:
        """The first that it is told."""
        self.facts = facts
        self.reports: list[Mapping[str, Any]] = []

    def finish(self, run: str, ending: Ending, report: Mapping[str, Any]) -> None:
        """The end."""
        super().finish(run, ending, report)
        self.reports.append(report)


def logged(
    folder: Path, run: RunResult, *, is_resumed: bool = False, missed: int | None = None
) -> list[Any]:
    """What is told of a run that has told of epoch 1 at once, and then of a point and epoch 2."""
    if is_resumed:
        keep(folder / "kept.json", missed=missed)
    diary = Curious()
    watcher = LoggedRun("diary", lambda: diary, folder, "kept.json")
    watcher.lay_out(plan(**PLAN))
    watcher.begin(run)
    watcher.point(run, point(1, 6, loss=0.5))
    second = dataclasses.replace(EPOCH, epoch=2)
    run.epochs.append(second)
    watcher.epoch(run, second)
    watcher.end({"status": "interrupted"})
    assert diary.facts.settings["batch_size"] == 32
    assert "batch_size=32" in diary.facts.changed
    return [(each.updates, each.seconds) if isinstance(each, Row) else each for each in diary.told]


def test_a_run_is_told_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    run = decoupled(EPOCH)
    assert logged(tmp_path, run) == [
        ("dni", "decoupled", "dni"),
        (4, 0.5),  # what was there
        (6, 0.5),
        (8, 1.0),
        ("dni", "interrupted", "interrupted"),
    ]


def test_a_run_that_goes_on_tells_what_its_logger_has_not_heard(tmp_path: Path) -> None:
    run = decoupled(EPOCH)
    run.told = Told((point(1, 4, loss=0.75),), {-1: 6}, 1)
    told = logged(tmp_path, run, is_resumed=True)
    assert told == [("dni", "decoupled", "dni"), (8, 1.0), ("dni", "interrupted", "interrupted")]


def test_a_logger_that_is_new_to_a_resumed_run_hears_all(tmp_path: Path) -> None:
    run = decoupled(EPOCH)
    run.told = Told((point(1, 2, loss=0.75),), {-1: 6}, 1)
    assert [each for each in logged(tmp_path, run) if each[0] in (2, 4, 6, 8)] == [
        *((2, 0.5), (4, 0.5), (6, 0.5), (8, 1.0)),
    ]


def test_a_logger_that_failed_hears_what_it_missed_when_the_run_goes_on(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    keep(kept, run_id="mine")
    failing = LoggedRun("diary", lambda: Diary(is_full=True), tmp_path, kept.name)
    failing.lay_out(plan(**PLAN))
    failing.begin(decoupled())
    failing.point(decoupled(), point(1, 3, loss=0.75))
    with pytest.raises(OSError, match="no space"):
        failing.end({"status": "interrupted"})
    assert kept_in(kept) == {"run_id": "mine", "missed": 3}
    run = decoupled(EPOCH)
    before = (point(1, 2, loss=0.75), point(1, 3, loss=0.75))
    run.told = Told(before, {-1: 7}, 2)
    told = logged(tmp_path, run, is_resumed=True, missed=3)
    assert [each[0] for each in told] == ["dni", 3, 4, 6, 8, "dni"]  # without update 2
    assert kept_in(kept)["missed"] is None


def test_a_logger_that_has_failed_is_told_nothing_from_there_on(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    keep(kept, run_id="mine")
    failing = LoggedRun("diary", lambda: Diary(is_full=True), tmp_path, kept.name)
    failing.lay_out(plan(**PLAN))
    run = decoupled()
    failing.begin(run)
    failing.point(run, point(1, 3, loss=0.75))
    threads = [each for each in threading.enumerate() if each.name == "dni-diary"]
    for each in threads:
        each.join(60)
    with pytest.raises(OSError, match="no space"):
        failing.point(run, point(1, 2, loss=0.75))
    assert kept_in(kept)["missed"] == 2


def test_restarts_are_marks_and_a_curve(tmp_path: Path) -> None:
    diary = Curious()
    watcher = LoggedRun("diary", lambda: diary, tmp_path, "kept.json")
    watcher.lay_out(plan(**PLAN))
    run = decoupled()
    watcher.begin(run)
    restart = RestartResult(1, "stage 1 was killed by SIGKILL", 0.5)
    run.restarts = [restart]
    watcher.died(restart)
    restart.seconds = 0.25
    watcher.recovered(restart)
    watcher.begin(baseline())
    watcher.end({"status": "finished"})
    cause = "stage 1 was killed by SIGKILL"
    back = f"{cause}; stage 1 was back at work after 0.25 s"
    assert diary.told == [
        ("dni", "decoupled", "dni"),
        ("dni", "restart.1", cause),
        Row("dni", 0, 0.0, {"restarts": 1.0}),
        ("dni", "restart.1", back),
        ("dni", "finished", None),
        ("baseline", "baseline", "backprop"),
        ("baseline", "finished", "finished"),
    ]


def test_a_password_is_told_nobody(tmp_path: Path) -> None:
    diary = Curious()
    watcher = LoggedRun("diary", lambda: diary, tmp_path, "kept.json")
    planned = plan(**PLAN, mlflow="postgresql://me:secret@host:5432/name")
    watcher.lay_out(planned)
    watcher.begin(baseline())
    watcher.end({"status": "failed", "config": shown_settings(planned.config)})
    shown = "postgresql://me:***@host:5432/name"
    assert diary.facts.settings["mlflow"] == shown
    assert "secret" not in diary.facts.changed
    (report,) = diary.reports
    assert report["config"]["mlflow"] == shown
    assert "secret" not in str(report)


def test_a_launch_that_fails_before_it_trains_leaves_no_run(tmp_path: Path) -> None:
    diary = Curious()
    watcher = LoggedRun("diary", lambda: diary, tmp_path, "kept.json")
    watcher.end({"status": "failed"})
    watcher.lay_out(plan(**PLAN))
    watcher.end({"status": "failed"})
    assert diary.told == []
