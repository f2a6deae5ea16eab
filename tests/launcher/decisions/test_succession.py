"""Who is told what when a worker is replaced, whatever happens meanwhile."""

from __future__ import annotations

import pytest

from dni_async import WorkerDied
from dni_async.launcher.decisions.roster import Roster
from dni_async.launcher.decisions.succession import Replacing
from dni_async.launcher.decisions.vacancies import Replacements
from dni_async.wire.messages import (
    PROTOCOL,
    CoordinatorMessage,
    Hello,
    InboxMoved,
    NeighbourReplaced,
    Start,
    Stop,
    Welcome,
)

RUN = "run-1"


def welcome(stage: int, *, peer: str) -> Welcome:
    """Only who it is for and where it is to connect matters here."""
    return Welcome(RUN, 4, stage, stage + 1, "cpu", 1, peer, "", (1,), False, 2, 1)


class Coordinator:
    """Four stages that train; keeps what is sent and started. now: its clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.done: list[tuple[int, CoordinatorMessage | int]] = []
        self.roster = Roster(4, RUN)
        for stage in range(4):
            self.say_hello(stage)
            self.roster.ready.add(stage)
        self.replacing = Replacing(
            self.roster,
            Replacements(9),
            send=lambda stage, message: self.done.append((stage, message)),
            start=lambda stage, incarnation: self.done.append((stage, incarnation)),
            welcome=welcome,
            timeout_s=lambda _: 60.0,
        )

    def say_hello(self, stage: int, incarnation: int = 0) -> None:
        """The stage's worker joins."""
        endpoint = f"ipc:///stage-{stage}.{incarnation}" if stage else ""
        self.roster.admit(
            Hello(PROTOCOL, RUN, stage, 100 * incarnation + stage, "host", endpoint, incarnation)
        )

    def die(self, stage: int) -> None:
        """The stage's worker has been killed."""
        self.replacing.vacate(stage, self.now, f"stage {stage} was killed", 137)

    def take(self) -> list[tuple[int, CoordinatorMessage | int]]:
        """What was sent, and which incarnations were started, up to now."""
        self.replacing.fill(self.now)
        done, self.done = self.done, []
        return done


def below(incarnation: int) -> NeighbourReplaced:
    """What the stage above a vacancy is told."""
    return NeighbourReplaced(RUN, "below", incarnation, "")


def above(incarnation: int, endpoint: str) -> NeighbourReplaced:
    """What the stage below a replacement is told."""
    return NeighbourReplaced(RUN, "above", incarnation, endpoint)


@pytest.mark.parametrize("is_inbox_first", [True, False])
def test_a_middle_stage(is_inbox_first: bool) -> None:
    run = Coordinator()
    run.die(1)
    assert run.take() == [(2, below(1)), (1, 1)]
    moved = InboxMoved(RUN, 2, 1, "ipc:///moved")
    if is_inbox_first:
        run.replacing.hear_inbox(moved)
        assert run.take() == []
        run.say_hello(1, 1)
    else:
        run.say_hello(1, 1)
        assert run.take() == []
        run.replacing.hear_inbox(moved)
    assert run.take() == [
        (1, welcome(1, peer="ipc:///moved")),
        (0, above(1, "ipc:///stage-1.1")),
    ]
    assert run.take() == []
    assert run.replacing.seat(1) is not None
    assert run.take() == [(1, Start(RUN))]
    assert run.roster.all_ready


def test_the_ends_of_the_line_have_one_neighbour() -> None:
    run = Coordinator()
    run.die(3)
    assert run.take() == [(3, 1)]
    run.say_hello(3, 1)
    assert run.take() == [(3, welcome(3, peer="")), (2, above(1, "ipc:///stage-3.1"))]
    run = Coordinator()
    run.die(0)
    assert run.take() == [(1, below(1)), (0, 1)]
    run.replacing.hear_inbox(InboxMoved(RUN, 1, 1, "ipc:///moved"))
    run.say_hello(0, 1)
    assert run.take() == [(0, welcome(0, peer="ipc:///moved"))]


def test_neighbours_that_died_together_meet_as_they_join() -> None:
    run = Coordinator()
    run.die(1)
    run.die(2)
    assert run.take() == [(2, below(1)), (3, below(1)), (1, 1), (2, 1)]
    run.say_hello(1, 1)
    assert run.take() == []  # where it is to connect is not known yet
    run.say_hello(2, 1)
    assert run.take() == [
        (1, welcome(1, peer="ipc:///stage-2.1")),
        (0, above(1, "ipc:///stage-1.1")),
    ]
    run.replacing.hear_inbox(InboxMoved(RUN, 3, 1, "ipc:///moved"))
    assert run.take() == [(2, welcome(2, peer="ipc:///moved"))]


def test_one_that_joins_begins_again_when_its_neighbour_dies() -> None:
    run = Coordinator()
    run.die(1)
    run.replacing.hear_inbox(InboxMoved(RUN, 2, 1, "ipc:///moved"))
    run.say_hello(1, 1)
    run.take()
    run.die(2)
    assert run.take() == [
        (3, below(1)),
        (1, Stop(RUN, "a neighbour has died", True)),
        (2, 1),
    ]
    assert run.replacing.seat(1) is None  # it was ready before it heard
    assert 1 not in run.roster.ready
    run.replacing.begin_again(1, run.now)
    assert run.take() == [(1, 2)]
    run.say_hello(1, 2)
    run.say_hello(2, 1)
    assert run.take() == [
        (1, welcome(1, peer="ipc:///stage-2.1")),
        (0, above(2, "ipc:///stage-1.2")),
    ]


def test_an_inbox_for_an_earlier_incarnation_is_not_the_one() -> None:
    run = Coordinator()
    run.die(1)
    run.take()
    run.die(1)
    run.replacing.hear_inbox(InboxMoved(RUN, 2, 1, "ipc:///too-early"))
    run.now += 1.0  # it died again at once, so the next one waits a little
    assert run.take() == [(2, below(2)), (1, 2)]
    run.say_hello(1, 2)
    assert run.take() == []


def test_where_nobody_can_take_the_place_the_run_ends_with_the_cause() -> None:
    run = Coordinator()
    run.die(1)
    run.take()
    run.now += 61.0
    with pytest.raises(WorkerDied, match="stage 1 was killed\nits replacement was not ready in 60"):
        run.take()
    run = Coordinator()
    run.die(1)
    run.roster.left.add(2)
    with pytest.raises(WorkerDied, match="stage 1 was killed\nthe stages above had left") as ended:
        run.take()
    assert ended.value.exit_code == 137
