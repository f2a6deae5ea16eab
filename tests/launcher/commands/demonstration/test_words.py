"""The demo says what was seen, a loss as a loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dni_async.launcher.commands.demonstration.sizing import Machine
from dni_async.launcher.commands.demonstration.words import (
    introduction,
    next_commands,
    of_killing,
    seen,
    why_slow,
)
from dni_async.launcher.report.comparison import ALL_THREADS, ONE_THREAD
from dni_async.launcher.report.results import RestartResult
from tests.launcher.reports import report, worker


def told(ratios: dict[str, float | None], equal: float | None = 2.0) -> dict[str, Any]:
    """A report that compares with these baselines. equal: their seconds over ours."""
    whole = report(worker(0, 0.001), worker(1, 0.002), rate=1000)
    figure = {"metric": "accuracy", "ours": 0.98, "theirs": 0.99, "epoch": 3}
    level = None if equal is None else {"level": 0.98, "ours_s": 1, "theirs_s": 1, "ratio": equal}
    whole["comparison"] = {
        "is_comparable": all(ratios.values()),
        "why_not": None if all(ratios.values()) else "others kept 1.4 of 2 cores busy",
        "verdict": "",
        "baselines": {
            name: {"ratio": ratio, "why_not": None, "figure": figure, "equal": level}
            for name, ratio in ratios.items()
        },
    }
    return whole


def test_faster_and_sooner_is_said_as_such() -> None:
    text = seen(told({ONE_THREAD: 2.3, ALL_THREADS: 1.2}))
    assert "2 processes trained one network at the same time" in text
    assert "came as far sooner" in text


def test_without_seconds_to_the_same_figure_only_speed_is_said() -> None:
    assert "did more samples a second" in seen(told({ALL_THREADS: 1.2}, equal=None))


def test_a_loss_is_said_with_its_baseline_and_why() -> None:
    lost = told({ONE_THREAD: 1.4, ALL_THREADS: 0.8})
    text = seen(lost)
    assert "SLOWER on this machine than the baseline on all threads" in text
    assert "on one thread" not in text
    assert text.endswith(why_slow(lost))
    assert "samples/s measured" in text


def test_faster_but_later_is_no_win() -> None:
    text = seen(told({ONE_THREAD: 2.3}, equal=0.7))
    assert "LATER" in text
    assert "sooner" not in text


def test_beside_other_work_nothing_is_said_of_speed() -> None:
    text = seen(told({ONE_THREAD: None, ALL_THREADS: None}))
    assert "accuracy 98.00% where plain backpropagation came to 99.00%" in text
    assert "nothing can be said of speed" in text


def test_without_baselines_nothing_is_compared() -> None:
    assert "without a baseline" in seen(told({}))


def test_lockstep_is_not_at_the_same_time() -> None:
    lockstep = told({ONE_THREAD: 2.0})
    lockstep["runs"][0]["is_lockstep"] = True
    assert "in turns" in seen(lockstep)


@pytest.mark.parametrize(
    ("killed", "restart", "expected"),
    [
        (None, None, "was over before a worker could be killed"),
        ((2, 99), None, "over before it was missed"),
        ((2, 99), RestartResult(2, "", 1.0), "over before another one was at work"),
        ((2, 99), RestartResult(2, "", 1.0, 0.31), "0.31 s later a new process"),
    ],
    ids=["never", "unnoticed", "unreplaced", "replaced"],
)
def test_what_became_of_the_worker(
    killed: tuple[int, int] | None, restart: RestartResult | None, expected: str
) -> None:
    text = of_killing(
        killed, restart, report(worker(0, 0.001), rate=1000)["runs"][0] | {"restarts": [0]}
    )
    assert expected in text
    assert killed is None or "stage 2 (pid 99)" in text


def test_the_size_is_said_with_what_it_was_drawn_from() -> None:
    text = introduction(
        Machine(1, None, 0.0214), {"layers": 3, "width": 1024, "epochs": 9}, ["epochs 9"]
    )
    assert "3 layers of 1,024 units, 9 epochs; sized for 1 core," in text
    assert "21 ms" in text
    assert text.endswith("as asked: epochs 9")


def test_commands_can_be_typed_where_the_demo_ran() -> None:
    commands = dict(next_commands(Path("runs/demo"), bin_dir=".venv/bin/", has_examples=True))
    assert list(commands) == [
        ".venv/bin/python examples/own_data.py",
        ".venv/bin/dni-launch --layers 4 --dashboard",
        ".venv/bin/dni-report runs/demo",
    ]
    installed = dict(next_commands(Path("runs/demo"), bin_dir="", has_examples=False))
    assert "dni-launch --model mynet:make --data own.npz" in installed
