"""What the user sees while a run goes on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.live import Live
from rich.text import Text

from dni_async.decisions.goal import Goal
from dni_async.launcher.monitoring.display import Display, LiveDisplay
from dni_async.launcher.report.results import EpochResult, RunResult
from dni_async.wire.messages import BoundaryEpoch
from tests.launcher.told import progress

EPOCH = EpochResult(2, 0.5, 0.25, 0.5, {"accuracy": 0.75}, 1000)


def decoupled(*cosines: float) -> RunResult:
    """A run of which every boundary has told of two epochs, the second with these cosines."""
    run = RunResult("dni", "decoupled", "dni", 3, 3, goal=Goal("accuracy", "max"))
    for epoch, told in ((1, [0.01 for _ in cosines]), (2, cosines)):
        run.boundaries += [
            BoundaryEpoch("run", stage, epoch, 5, cosine, 1.0, 0.5, 2, 7)
            for stage, cosine in enumerate(told)
        ]
    return run


def console() -> Console:
    """Keeps what is printed."""
    return Console(file=io.StringIO(), width=100, force_terminal=False)


def printed(console: Console) -> list[str]:
    """Line by line."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_what_a_peer_said_does_not_command_the_terminal() -> None:
    screen = console()
    Display(screen).note("\x1b]0;owned\x07 has joined [red]")
    assert printed(screen) == ["\\x1b]0;owned\\x07 has joined [red]"]


@pytest.mark.parametrize(
    ("cosines", "end"),
    [((0.5, 0.234), "2,000/s  cosine 0.23"), ((0.5, -0.1), "2,000/s  cosine -0.10"), ((), "/s")],
)
def test_an_epoch_ends_with_the_lowest_cosine_of_its_boundaries(
    cosines: tuple[float, ...], end: str
) -> None:
    screen = console()
    Display(screen).epoch(decoupled(*cosines), EPOCH)
    (line,) = printed(screen)
    assert line.startswith("dni                  epoch   2  loss 0.2500  test 0.5000  75.00%")
    assert line.endswith(end)


def test_the_table_shows_each_boundary_s_cosine_of_the_last_epoch() -> None:
    screen = console()
    live = Live(Text(""), console=screen, auto_refresh=False)
    display = LiveDisplay(screen, live)
    display.epoch(decoupled(0.5, 0.234), EPOCH)
    for stage in range(3):
        display.progress(progress(stage))
    screen.print(live.get_renderable())
    rows = [line.split() for line in printed(screen)[-4:]]
    column = rows[0].index("cosine")
    assert [row[column] for row in rows[1:3]] == ["0.50", "0.23"]
    assert len(rows[3]) == len(rows[2]) - 1  # no boundary lies above the head
