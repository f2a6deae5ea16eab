"""Recordings: the same events lead to the same actions, and where they do not, that is found."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dni_async import ConfigError, LinkError
from dni_async.config.assembly import make_recorded_machine
from dni_async.decisions.actions import (
    Action,
    Arrived,
    Batch,
    Credited,
    Drained,
    Event,
    Idle,
    Mark,
    MarkerReturned,
    Returned,
    Turn,
)
from dni_async.decisions.event_log import Header, entry, replay

RECORDINGS = sorted((Path(__file__).parent / "recordings").glob("*.jsonl"))
SOURCE = Header(
    stage=0, num_stages=2, seed=1, num_batches=[3, 1], config={"layers": 2, "epochs": 1}
)
MIDDLE = Header(stage=1, num_stages=3, seed=1, num_batches=None, config={"layers": 3, "window": 2})


def record(header: Header, events: list[Event]) -> list[str]:
    """The lines of a recording of these events."""
    machine = make_recorded_machine(header)
    values: list[Any] = [header.to_dict()]
    for event in events:
        outcome: list[Action] | LinkError
        try:
            outcome = machine.handle(event)
        except LinkError as error:
            outcome = error
        values.append(entry(0.5, event, outcome))
    return [json.dumps(value) + "\n" for value in values]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_what_real_workers_decided_is_decided_again(path: Path) -> None:
    """From runs of three workers, by each kind of machine."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert replay(lines, make_recorded_machine) == (len(lines) - 1, None)


def test_the_recordings_are_there() -> None:
    assert {path.stem for path in RECORDINGS} == {"anchor", "unlocked", "uneven", "bootstrap"}


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_an_action_that_is_missing_is_found(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    number = next(n for n, line in enumerate(lines) if n > 20 and '["Forward"' in line)
    seconds, event, actions = json.loads(lines[number])
    lines[number] = json.dumps([seconds, event, actions[:-1]]) + "\n"
    count, divergence = replay(lines, make_recorded_machine)
    assert count == number
    assert divergence is not None
    assert (divergence.number, divergence.event) == (number, event)
    assert divergence.recorded == actions[:-1]
    assert divergence.replayed == actions
    assert str(divergence).startswith(f'event {number} ["')


@pytest.mark.parametrize("header", [SOURCE, MIDDLE], ids=["source", "middle"])
@pytest.mark.parametrize(
    "event",
    [
        Turn(),
        Idle(),
        Arrived(Batch(3, "train", True, 1, 2)),
        Arrived(Mark("trained", 1)),
        Returned(0),
        Credited(5),
        MarkerReturned(Mark("evaluated", 2)),
        Drained(),
    ],
    ids=str,
)
def test_every_event_is_replayed_as_it_was(header: Header, event: Event) -> None:
    """Also where the machine refuses it: that too must happen again."""
    assert replay(record(header, [Turn(), event]), make_recorded_machine) == (2, None)


def test_a_machine_that_used_to_refuse() -> None:
    lines = record(MIDDLE, [Returned(7)])
    assert "released batch 7, which is not in flight" in lines[1]
    lines[1] = lines[1].replace("batch 7", "batch 8")
    _, divergence = replay(lines, make_recorded_machine)
    assert divergence is not None
    assert "batch 8" in divergence.recorded
    assert "batch 7" in divergence.replayed


def test_the_line_of_a_killed_worker_may_break_off() -> None:
    lines = record(SOURCE, [Turn(), Turn(), Credited(1)])
    assert replay([*lines[:-1], lines[-1][:20]], make_recorded_machine) == (2, None)
    assert replay(lines[:1], make_recorded_machine) == (0, None)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1 is no header"),
        (["no json\n"], "line 1 is no header"),
        (["[]\n"], "line 1 is no header"),
        (['{"format": 2}\n'], "line 1 is no header"),
        (['{"format": 1}\n'], "its format is 1, this version reads 2"),
        ([json.dumps({**SOURCE.to_dict(), "config": {"layer": 1}}) + "\n"], "unknown key 'layer'"),
        ([*record(SOURCE, []), "{}\n"], "line 2 is no event"),
        ([*record(SOURCE, []), '[0,["Turn"]]\n'], "line 2 is no event"),
        ([*record(SOURCE, []), '[0,["Forward",1],[]]\n'], "line 2 is no event"),
        ([*record(SOURCE, []), '[0,["Returned"],[]]\n'], "line 2 is no event"),
        ([*record(SOURCE, []), '[0,["Batch",1,"train"],[]]\n'], "line 2 is no event"),
        ([*record(SOURCE, []), "[0,[],[]]\n"], "line 2 is no event"),
    ],
)
def test_what_is_no_recording(lines: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        replay(lines, make_recorded_machine)
