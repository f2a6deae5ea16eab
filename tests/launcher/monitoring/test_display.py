"""What the user sees while a run goes on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dni_async.decisions.goal import Goal
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.report.results import EpochResult, RunResult
from dni_async.wire.messages import BoundaryEpoch
from tests.launcher.reports import report

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


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (120, "loss 0.2500  test 0.5000   75.00%    0.50 s     2,000/s  cosine 0.23"),
        (90, "loss 0.2500  test 0.5000   75.00%    0.50 s     2,000/s"),
        (80, "loss 0.2500   75.00%    0.50 s     2,000/s"),
        (60, "75.00%    0.50 s     2,000/s"),
        (20, "75.00%"),
    ],
)
def test_in_a_narrow_terminal_an_epoch_leaves_out_what_tells_least(width: int, said: str) -> None:
    screen = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    Display(screen).epoch(decoupled(0.234), EPOCH)
    words = " ".join(" ".join(printed(screen)).split())
    assert words == f"dni epoch 2 {' '.join(said.split())}"
    assert width < 60 or len(printed(screen)[0]) <= width


@pytest.mark.parametrize(
    ("status", "epochs", "is_shown"),
    [
        ("interrupted", 3, True),
        ("failed", 3, True),
        ("interrupted", 0, False),
        ("finished", 3, False),
    ],
)
def test_a_run_that_was_ended_shows_what_was_told_of_it(
    status: str, epochs: int, is_shown: bool
) -> None:
    ended = report(rate=1000, epochs=20) | {"status": status}
    ended["runs"][0]["epochs"] = ended["runs"][0]["epochs"][:epochs]
    screen = console()
    Display(screen).end(ended)
    assert any("3 of 20" in line for line in printed(screen)) is is_shown
