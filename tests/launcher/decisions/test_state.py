"""Who belongs to the run, is there and is waited for; who may take the place of one that died."""

from __future__ import annotations

import dataclasses
import re

import pytest

from dni_async import HandshakeError
from dni_async.launcher.decisions.state import Roster, Vacancies
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


def test_each_replacement_is_an_incarnation_of_its_own() -> None:
    vacancies = Vacancies(3)
    assert vacancies.incarnation(1) == 0
    assert vacancies.lose(1, 100.0, "first").incarnation == 1
    assert vacancies.begin_again(1, 101.0).incarnation == 2
    assert vacancies.lose(2, 102.0, "second").incarnation == 1
    assert (vacancies.incarnation(1), vacancies.incarnation(2)) == (2, 1)


def test_they_are_used_up_by_deaths_alone() -> None:
    vacancies = Vacancies(2)
    vacancies.lose(1, 100.0, "first")
    vacancies.begin_again(1, 101.0)
    assert not vacancies.are_used_up
    vacancies.lose(0, 102.0, "second")
    assert vacancies.are_used_up
    assert vacancies.deaths == ["first", "second"]
    assert Vacancies(0).are_used_up


def test_a_stage_whose_replacements_make_no_update_waits_longer_each_time() -> None:
    vacancies = Vacancies(99)
    now, delays = 100.0, []
    for _ in range(7):
        vacancy = vacancies.lose(1, now, "it died")
        delays.append(vacancy.begins_at - now)
        vacancies.fill(1)
        now = vacancy.begins_at + 1.0
    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert vacancies.lose(2, now, "another").begins_at == now
    vacancies.untried.pop(1)  # it trains
    assert vacancies.lose(1, now, "killed at once").begins_at == now
    assert vacancies.lose(1, now, "while it joined").begins_at == now + 0.5


@pytest.mark.parametrize("every_s", [0.1, 1.5, 3.0])
def test_a_stage_that_trains_is_replaced_at_once_however_often_it_dies(every_s: float) -> None:
    vacancies = Vacancies(99)
    for count in range(20):
        now = 100.0 + count * every_s
        assert vacancies.lose(1, now, "killed from outside").begins_at == now
        vacancies.fill(1)
        vacancies.untried.pop(1)


def test_a_stage_stands_still_until_one_of_its_vacancies_trains() -> None:
    vacancies = Vacancies(9)
    vacancies.lose(1, 100.0, "first")
    assert vacancies.lose(1, 103.0, "while it joined").died_at == 100.0
    assert vacancies.begin_again(1, 104.0).died_at == 100.0
    vacancies.fill(1)
    assert (list(vacancies.open), list(vacancies.untried)) == ([], [1])
    assert vacancies.lose(1, 105.0, "before its first update").died_at == 100.0
    vacancies.fill(1)
    assert vacancies.untried.pop(1).died_at == 100.0
    assert vacancies.lose(1, 200.0, "later").died_at == 200.0
