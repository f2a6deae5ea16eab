"""Callbacks are called of the decoupled run, and what they raise is heard of once."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from dni_async import RunView
from dni_async.launcher.monitoring.callbacks import CallbackWatcher
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.monitoring.watchers import WatchedDisplay
from dni_async.launcher.report.results import RestartResult
from tests.launcher.told import EPOCH, baseline, decoupled


class Diary:
    """Keeps what it hears; raises at what it is told to."""

    def __init__(self, raises_at: str = "") -> None:
        self.heard: list[Any] = []
        self.raises_at = raises_at

    def on_start(self, run: RunView) -> None:
        """Before the first process."""
        self._hear("start", run.name)

    def on_epoch(self, run: RunView, epoch: dict[str, Any]) -> None:
        """An epoch."""
        self._hear("epoch", epoch["epoch"])

    def on_restart(self, run: RunView, restart: dict[str, Any]) -> None:
        """A death."""
        self._hear("restart", restart["stage"])

    def on_end(self, run: RunView, report: dict[str, Any]) -> None:
        """The end."""
        self._hear("end", report["status"])

    def _hear(self, what: str, of: object) -> None:
        self.heard.append((what, of))
        if what == self.raises_at:
            raise OSError(f"at {what}")


def followed(*diaries: object) -> WatchedDisplay:
    """A display that has callbacks behind it."""
    watcher = CallbackWatcher(diaries, RunView)
    return WatchedDisplay(Display(Console(file=io.StringIO())), [watcher])


def test_they_hear_of_the_decoupled_run_alone() -> None:
    diary, run, beside = Diary(), decoupled(), baseline()
    display = followed(diary, object())
    display.begin(run)
    display.epoch(run, EPOCH)
    display.died(RestartResult(1, "killed", 0.5))
    display.begin(beside)
    display.trained(beside, 7)
    display.epoch(beside, EPOCH)
    display.end({"status": "finished"})
    assert diary.heard == [("start", "dni"), ("epoch", 1), ("restart", 1), ("end", "finished")]


def test_a_stop_while_a_baseline_is_trained_is_about_that() -> None:
    run, beside = decoupled(), baseline()
    display = followed(Diary())
    display.begin(run)
    display.begin(beside)
    run.stop_asked = "enough"
    display.trained(beside, 7)
    assert (run.stop_asked, beside.take_stop()) == (None, "enough")


def test_what_one_raises_ends_the_calls_but_those_at_the_end() -> None:
    """An OSError too, which a watcher of another kind may raise for nothing."""
    raising, beside = Diary("epoch"), Diary()
    display = followed(raising, beside)
    run = decoupled()
    display.begin(run)
    with pytest.raises(OSError, match="at epoch"):
        display.epoch(run, EPOCH)
    display.epoch(run, EPOCH)
    display.end({"status": "failed"})
    assert raising.heard == [("start", "dni"), ("epoch", 1), ("end", "failed")]
    assert beside.heard == [("start", "dni"), ("end", "failed")]


def test_what_is_raised_at_the_end_hides_nothing() -> None:
    diaries = [Diary("end"), Diary(), Diary("end")]
    display = followed(*diaries)
    display.begin(decoupled())
    said = "Diary.on_end raised OSError('at end'), behind what ended the run"
    with pytest.raises(OSError, match="at end"), pytest.warns(RuntimeWarning) as warned:
        display.end({"status": "stopped"})
    assert [str(each.message) for each in warned] == [said]
    with pytest.warns(RuntimeWarning) as warned:
        display.end({"status": "interrupted"})
    assert [str(each.message) for each in warned] == [said, said]
    assert all(diary.heard[-1] == ("end", "interrupted") for diary in diaries)


def test_of_a_run_that_did_not_begin_they_hear_nothing() -> None:
    diary = Diary("end")
    followed(diary).end({"status": "failed"})
    assert diary.heard == []
