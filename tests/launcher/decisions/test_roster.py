"""The roster: who belongs to the run, who is there, whom it waits for."""

from __future__ import annotations

import dataclasses
import re

import pytest

from dni_async import HandshakeError
from dni_async.launcher.decisions.roster import Roster
from dni_async.wire.messages import PROTOCOL, Hello, InboxMoved

RUN = "run-1"


def hello(stage: int, **changes: object) -> Hello:
    """What the worker of this stage says."""
    said = Hello(PROTOCOL, RUN, stage, 100 + stage, "host", f"ipc:///stage-{stage}")
    return dataclasses.replace(said, **changes)  # type: ignore[arg-type]


def roster_with(*stages: int, num_stages: int = 3) -> Roster:
    """A roster that has admitted these stages."""
    roster = Roster(num_stages, RUN)
    for stage in stages:
        roster.admit(hello(stage))
    return roster


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            hello(1, protocol=PROTOCOL + 1),
            f"stage 1 speaks protocol {PROTOCOL + 1}, this launcher {PROTOCOL}",
        ),
        (hello(1, run_id="run-2"), "stage 1 belongs to another run"),
        (hello(1, run_id=""), "stage 1 belongs to another run"),
        (hello(3), "stage 3 of 3 does not exist"),
        (hello(0), "stage 0 said Hello twice"),
        (hello(0, pid=999), "stage 0 said Hello twice"),
        (hello(1, incarnation=1), "stage 1 is awaited in incarnation 0, not 1"),
    ],
)
def test_who_does_not_belong_is_refused_and_changes_nothing(said: Hello, message: str) -> None:
    roster, before = roster_with(0), roster_with(0)
    with pytest.raises(HandshakeError, match=re.escape(message)):
        roster.admit(said)
    assert roster == before


def test_stages_may_join_in_any_order() -> None:
    roster = roster_with(2, 0)
    assert not roster.all_admitted
    roster.admit(hello(1))
    assert roster.all_admitted
    assert roster.pids == {0: 100, 1: 101, 2: 102}


def test_everybody_sends_to_the_stage_above() -> None:
    roster = roster_with(0, 1, 2)
    assert [roster.peer_of(stage) for stage in range(3)] == [
        "ipc:///stage-1",
        "ipc:///stage-2",
        "",
    ]


@pytest.mark.parametrize(
    ("lower", "upper", "may_be_near", "expected"),
    [
        ("here", "here", True, "ipc://@near"),
        ("here", "there", True, "tcp://10.0.0.2:1"),
        ("here", "here", False, "tcp://10.0.0.2:1"),
        ("", "", True, "tcp://10.0.0.2:1"),
    ],
)
def test_those_in_one_place_are_near(
    lower: str, upper: str, may_be_near: bool, expected: str
) -> None:
    roster = Roster(2, RUN, may_be_near=may_be_near)
    roster.admit(dataclasses.replace(hello(0), place=lower))
    near = "ipc://@near" if upper else ""
    roster.admit(dataclasses.replace(hello(1), place=upper, near=near, endpoint="tcp://10.0.0.2:1"))
    assert roster.peer_of(0) == expected


def test_an_inbox_that_moved_is_the_new_peer() -> None:
    roster = roster_with(0, 1, 2)
    roster.move(InboxMoved(RUN, 2, 1, "ipc:///moved"))
    assert roster.peer_of(1) == "ipc:///moved"
    roster.vacate(1, 1)
    roster.move(InboxMoved(RUN, 1, 1, "ipc:///of-the-dead"))  # said before it died
    roster.admit(hello(1, incarnation=1))
    assert roster.peer_of(0) == "ipc:///stage-1"


def test_ready_and_left_take_everybody() -> None:
    roster = roster_with(0, 1, num_stages=2)
    roster.ready.add(0)
    roster.left.add(1)
    assert (roster.all_ready, roster.all_left) == (False, False)
    roster.ready.add(1)
    roster.left.add(0)
    assert (roster.all_ready, roster.all_left) == (True, True)


def test_who_is_missing_is_named_with_what_is_awaited() -> None:
    roster = roster_with(0)
    roster.pids[2] = 4711  # started, but has said nothing yet
    assert roster.missing() == "Hello from stage 1, stage 2 (pid 4711)"
    roster.admit(hello(1))
    roster.admit(hello(2))
    roster.ready.update({0, 2})
    assert roster.missing() == "Ready from stage 1 (pid 101)"


def test_a_vacated_stage_is_taken_by_the_awaited_incarnation_alone() -> None:
    roster = roster_with(0, 1, 2)
    roster.ready.update({0, 1, 2})
    roster.vacate(1, 1)
    assert (roster.all_admitted, roster.ready) == (False, {0, 2})
    with pytest.raises(HandshakeError, match="stage 1 is awaited in incarnation 1, not 0"):
        roster.admit(hello(1))
    roster.admit(hello(1, incarnation=1, pid=4711))
    assert roster.all_admitted
    assert roster.pids[1] == 4711
