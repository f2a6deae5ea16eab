"""What stands below the lines of a run that goes on, as it is drawn."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from dni_async.launcher.dashboard.facts import Facts, StageFacts
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.monitoring.live.awaited import PATIENCE_S, WaitLine
from dni_async.launcher.monitoring.live.screen import LiveDisplay, live_display
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult
from tests.launcher.told import GOAL, baseline, progress

EPOCH = EpochResult(2, 0.5, 0.25, 0.5, {"accuracy": 0.75}, 1000)


def facts(num_stages: int, **settings: Any) -> Facts:
    """Ten epochs of 90 batches and a test of 10."""
    stages = tuple(StageFacts(k, str(k), "cpu") for k in range(num_stages))
    told = {"batch_size": 64, "baseline": True, **settings}
    return Facts("digits", "dni", 10, (90, 10), 64, 2, 0.1, stages, told)


class Shown:
    """A display on a terminal of that size, and what it draws."""

    def __init__(self, width: int = 80, height: int = 24, num_stages: int = 3) -> None:
        self.console = Console(
            file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None
        )
        self.display = LiveDisplay(self.console)
        self.display._ledger.lay_out(facts(num_stages))
        self.run = RunResult("dni", "decoupled", "dni", num_stages, num_stages, goal=GOAL)
        self.num_stages = num_stages

    def hear(self, next_batch_id: int, busy_s: float) -> None:
        """Every worker tells of itself; the higher the stage, the more it waits."""
        for stage in range(self.num_stages):
            told = {"busy_s": busy_s, "waiting_s": busy_s * stage, "updates": 10**6}
            self.display.progress(progress(stage, next_batch_id=next_batch_id, **told))

    def lines(self) -> list[str]:
        """As they stand."""
        with self.console.capture() as capture:
            self.console.print(self.display)
        return [line.rstrip() for line in capture.get().splitlines()]

    def stages(self) -> list[str]:
        """The first cells of the table."""
        lines = self.lines()
        head = next(
            place for place, line in enumerate(lines) if line.split()[:2] == ["stage", "updates"]
        )
        return [line.split()[0] for line in lines[head + 1 :]]


def test_before_anything_is_planned_it_says_what_is_waited_for() -> None:
    shown = Shown()
    assert shown.lines() == [""]
    now = [0.0]
    shown.display._wait_line = WaitLine(lambda: now[0])
    shown.display.waiting("importing torch")
    assert shown.lines() == [""]  # not worth a word yet
    now[0] = PATIENCE_S
    assert shown.lines()[0][2:] == "importing torch"
    now[0] = 12.0
    assert shown.lines()[0][2:] == "importing torch (12 s)"
    shown.display.waiting("")
    assert shown.lines() == [""]


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_terminal_without_room_breaks_nothing(width: int) -> None:
    shown = Shown(width)
    shown.display._wait_line = WaitLine(iter(range(100)).__next__)  # type: ignore[arg-type]
    shown.display.waiting("importing torch")
    assert len(shown.lines()) == 1
    assert len(shown.lines()) > 1
    shown.display.begin(shown.run)
    shown.hear(190, 1.0)
    shown.display.waiting("")
    assert len(shown.lines() + shown.lines()) > 2


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_run_that_trains_shows_how_far_it_is_and_its_stages(width: int) -> None:
    shown = Shown(width)
    shown.display.begin(shown.run)
    shown.hear(100, 1.0)
    shown.hear(542, 2.0)
    lines = shown.lines()
    assert max(map(len, lines)) <= width
    assert " 55%" in lines[1]
    assert "epoch 6 of 10  batch 42 of 90" in lines[2]
    assert "stage 0 limits: it works 100% of its time" in lines
    assert shown.stages() == ["0", "1", "2"]
    assert sum("1,000,000" in line for line in lines) == 3


def test_a_worker_that_died_leaves_at_once_and_its_stage_is_back_with_the_next_one_s_word() -> None:
    shown = Shown()
    shown.display._wait_line = WaitLine(iter(range(100)).__next__)  # type: ignore[arg-type]
    shown.display.begin(shown.run)
    shown.hear(100, 1.0)
    shown.display.died(RestartResult(1, "killed", 0.1))
    assert shown.stages() == ["0", "2"]
    assert "another worker is awaited for stage 1" in "\n".join(shown.lines())
    shown.display.progress(progress(1))
    assert shown.stages() == ["0", "1", "2"]


@pytest.mark.parametrize(("height", "rows"), [(24, 17), (12, 5), (8, 1), (4, 0)])
def test_many_stages_are_no_higher_than_the_terminal(height: int, rows: int) -> None:
    shown = Shown(height=height, num_stages=64)
    shown.display.begin(shown.run)
    shown.hear(100, 1.0)
    shown.hear(110, 2.0)
    lines = shown.lines()
    assert len(lines) < height or height < 6
    more = f"and {64 - rows} more that work less of their time"
    assert (lines[-1] == more) is bool(rows)
    if rows > 2:
        assert [line.split()[0] for line in lines[-rows - 1 : -1]] == [
            *(str(stage) for stage in range(rows - 1)),
            "63",
        ]


def test_a_test_is_told_until_its_epoch_is_entered() -> None:
    shown = Shown()
    shown.display._wait_line = WaitLine(iter(range(100)).__next__)  # type: ignore[arg-type]
    shown.display.begin(shown.run)
    shown.hear(190, 1.0)
    assert "the test after epoch 2" in "\n".join(shown.lines() + shown.lines())
    shown.hear(193, 2.0)
    assert "the test after epoch 2: batch 3 of 10" in "\n".join(shown.lines())
    shown.run.epochs.append(EPOCH)
    shown.display.epoch(shown.run, EPOCH)
    assert "test after" not in "\n".join(shown.lines())


def test_a_baseline_has_a_bar_and_no_stages() -> None:
    shown = Shown()
    shown.display.begin(shown.run)
    shown.hear(100, 1.0)
    base = baseline(EPOCH)
    shown.display.begin(base)
    shown.display.trained(base, 451)
    lines = shown.lines()
    assert lines[1].startswith("baseline ")
    assert " 50%" in lines[1]
    assert "epoch 6 of 10  batch 1 of 90" in lines[2]
    assert lines[3] == "run 2 of 3"
    assert "stage" not in "\n".join(lines)


def test_nothing_stands_below_a_run_that_is_over() -> None:
    shown = Shown()
    shown.display.begin(shown.run)
    shown.display.end({"status": "finished", "speedup": None, "runs": []})
    assert shown.lines() == [""]


@pytest.mark.parametrize(
    ("terminal", "kind"), [("xterm", LiveDisplay), ("dumb", Display), (None, Display)]
)
def test_what_changes_in_place_is_for_terminals_that_can(
    terminal: str | None, kind: type[Display]
) -> None:
    console = Console(
        file=io.StringIO(), force_terminal=terminal is not None, _environ={"TERM": str(terminal)}
    )
    with live_display(console) as display:
        assert type(display) is kind
