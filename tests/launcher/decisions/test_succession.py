"""Who is told what when a worker is replaced, whatever happens meanwhile."""

from __future__ import annotations

import pytest

from dni_async.launcher.decisions.actions import (
    EndRun,
    EnterDeath,
    Note,
    RunAction,
    Send,
    SendWelcome,
    StartWorker,
)
from dni_async.launcher.decisions.events import PartHeard
from dni_async.wire.messages import BoundaryEpoch, Drain, NeighbourReplaced, Start, Stop
from tests.launcher.decisions.runs import RUN, Run, inbox, training

BOUNDARY = BoundaryEpoch(RUN, 0, 1, 0, 0.0, 0.0, 0.0, 0, 0)  # of two stages all are told then


def below(stage: int, incarnation: int) -> Send:
    """What the stage above a vacancy is told."""
    return Send(f"stage-{stage}", NeighbourReplaced(RUN, "below", incarnation, ""))


def above(stage: int, incarnation: int, endpoint: str) -> Send:
    """What the stage below a replacement is told."""
    return Send(f"stage-{stage}", NeighbourReplaced(RUN, "above", incarnation, endpoint))


def welcome(stage: int, incarnation: int, peer: str, next_batch_id: int = 0) -> SendWelcome:
    """What a replacement is told."""
    layers = (stage, stage + 1)
    return SendWelcome(f"stage-{stage}.{incarnation}", stage, peer, "cpu", 1, next_batch_id, layers)


def begins(stage: int, incarnation: int = 1) -> Send:
    """A replacement is to begin."""
    return Send(f"stage-{stage}.{incarnation}", Start(RUN))


def deeds(actions: list[RunAction]) -> list[RunAction]:
    """All but what is said of a death and kept of it."""
    return [action for action in actions if not isinstance(action, Note | EnterDeath)]


@pytest.mark.parametrize("is_inbox_first", [True, False])
def test_a_middle_stage(is_inbox_first: bool) -> None:
    run = training()
    assert deeds(run.exit(1)) == [below(2, 1)]
    assert run.tick() == [StartWorker(1, 1)]
    assert run.start(1, 201) == []
    if is_inbox_first:
        assert run.move(2, 1, "ipc:///moved") == []
        assert run.tick() == []
        run.hello(1, 1)
    else:
        run.hello(1, 1)
        assert run.tick() == []
        run.move(2, 1, "ipc:///moved")
    assert run.tick() == [welcome(1, 1, "ipc:///moved"), above(0, 1, inbox(1, 1))]
    assert run.tick() == []
    assert run.ready(1, 1) == [begins(1)]
    assert run.tick() == []


def test_the_ends_of_the_line_have_one_neighbour() -> None:
    run = training()
    assert deeds(run.exit(3)) == []
    assert run.tick() == [StartWorker(3, 1)]
    run.hello(3, 1)
    assert run.tick() == [welcome(3, 1, ""), above(2, 1, inbox(3, 1))]
    run = training()
    run.tell(0, next_batch_id=70)
    assert deeds(run.exit(0)) == [below(1, 1)]
    assert run.tick() == [StartWorker(0, 1)]
    run.move(1, 1, "ipc:///moved")
    run.hello(0, 1)
    assert run.tick() == [welcome(0, 1, "ipc:///moved", next_batch_id=70)]


def test_a_source_goes_on_behind_an_epoch_that_has_ended_whatever_was_told_last() -> None:
    """Who knew better may have died with it."""
    run = training(num_batches=[60, 10])
    run.tell(0, next_batch_id=120)
    run.end_epoch(2)
    run.exit(0)
    run.tick()
    run.move(1, 1, "ipc:///moved")
    run.hello(0, 1)
    assert run.tick() == [welcome(0, 1, "ipc:///moved", next_batch_id=130)]


def test_neighbours_that_died_together_meet_as_they_join() -> None:
    run = training()
    assert deeds(run.exit(1)) == [below(2, 1)]
    assert deeds(run.exit(2)) == [below(3, 1)]
    assert run.tick() == [StartWorker(1, 1), StartWorker(2, 1)]
    run.hello(1, 1)
    assert run.tick() == []  # where it is to connect is not known yet
    run.hello(2, 1)
    assert run.tick() == [welcome(1, 1, inbox(2, 1)), above(0, 1, inbox(1, 1))]
    run.move(3, 1, "ipc:///moved")
    assert run.tick() == [welcome(2, 1, "ipc:///moved")]


def welcomed() -> Run:
    """Stage 1 has died, and its replacement builds its stage."""
    run = training()
    run.exit(1)
    run.tick()
    run.start(1, 201)
    run.move(2, 1, "ipc:///moved")
    run.hello(1, 1)
    run.tick()
    return run


def test_one_that_joins_begins_again_when_its_neighbour_dies() -> None:
    run = welcomed()
    stop = Send("stage-1.1", Stop(RUN, "a neighbour has died", again=True))
    assert deeds(run.exit(2)) == [below(3, 1), stop]
    assert run.tick() == [StartWorker(2, 1)]
    assert run.ready(1, 1) == []  # it was ready before it heard
    assert run.exit(1, 0, pid=201) == []
    assert run.tick() == [StartWorker(1, 2)]
    run.hello(1, 2)
    run.hello(2, 1)
    assert run.tick() == [welcome(1, 2, inbox(2, 1)), above(0, 2, inbox(1, 2))]


def test_nobody_is_sent_to_one_that_is_about_to_leave() -> None:
    """Stage 2 was about to take its seat when the one below it died."""
    run = training()
    run.exit(2)
    run.tick()
    run.start(2, 202)
    run.move(3, 1, "ipc:///moved")
    run.hello(2, 1)
    run.tick()
    stop = Send("stage-2.1", Stop(RUN, "a neighbour has died", again=True))
    assert deeds(run.exit(1)) == [stop]
    assert run.tick() == [StartWorker(1, 1)]
    run.hello(1, 1)
    assert run.tick() == []
    assert run.exit(2, 0, pid=202) == [below(3, 2)]
    assert run.tick() == [StartWorker(2, 2)]
    run.hello(2, 2)
    assert run.tick() == [welcome(1, 1, inbox(2, 2)), above(0, 1, inbox(1, 1))]
    run.move(3, 2, "ipc:///moved-again")
    assert run.tick() == [welcome(2, 2, "ipc:///moved-again")]


def test_one_that_begins_again_takes_those_with_it_that_wait_for_it() -> None:
    """Stages 1 and 2 are about to take their seats when stage 3 dies."""
    run = training()
    for stage in (1, 2):
        run.exit(stage)
    run.tick()
    run.start(1, 201)
    run.start(2, 202)
    run.hello(1, 1)
    run.hello(2, 1)
    run.move(3, 1, "ipc:///moved")
    assert run.tick()[-1] == welcome(2, 1, "ipc:///moved")
    (stop,) = deeds(run.exit(3))
    assert stop == Send("stage-2.1", Stop(RUN, "a neighbour has died", again=True))
    stop = Send("stage-1.1", Stop(RUN, "a neighbour has died", again=True))
    assert run.exit(2, 0, pid=202) == [stop]
    assert run.exit(1, 0, pid=201) == []
    assert run.tick() == [StartWorker(1, 2), StartWorker(2, 2), StartWorker(3, 1)]


def test_an_inbox_is_for_one_alone() -> None:
    """Stage 2 waits to be welcomed, and the stage below it has connected to it, when that dies."""
    run = training()
    for stage in (2, 1):
        run.exit(stage)
    run.tick()
    run.start(2, 202)
    run.start(1, 201)
    run.hello(2, 1)
    run.hello(1, 1)
    assert run.tick()[0] == welcome(1, 1, inbox(2, 1))
    stop = Send("stage-2.1", Stop(RUN, "a neighbour has died", again=True))
    assert deeds(run.exit(1, pid=201)) == [stop]
    assert run.exit(2, 0, pid=202) == [below(3, 2)]
    assert run.tick(1.0) == [StartWorker(2, 2), StartWorker(1, 2)]
    run.hello(1, 2)
    run.hello(2, 2)
    assert run.tick()[0] == welcome(1, 2, inbox(2, 2))


def test_what_the_dead_has_said_is_not_its_successors_word() -> None:
    """Its connection may be read after its end was noticed."""
    run = welcomed()
    run.exit(1, pid=201)
    assert run.ready(1, 1) == []
    assert run.handle(PartHeard(run.now, "stage-1.1", RUN, 1)) == []
    assert run.bye(1, 1) == []
    assert run.tick(1.0) == [StartWorker(1, 2)]


def test_an_inbox_for_an_earlier_incarnation_is_not_the_one() -> None:
    run = training()
    run.exit(1)
    assert run.tick() == [StartWorker(1, 1)]
    run.start(1, 201)
    assert deeds(run.exit(1, pid=201)) == [below(2, 2)]
    run.move(2, 1, "ipc:///too-early")
    assert run.tick() == []  # it died again at once, so the next one waits a little
    assert run.tick(1.0) == [StartWorker(1, 2)]
    run.hello(1, 2)
    assert run.tick() == []


def test_where_nobody_can_take_the_place_the_run_ends_with_the_cause() -> None:
    said = "stage 1 (cpu, pid 101) was killed by SIGKILL; its log is logs/worker-1.log"
    run = training(stuck_after_s=0.0)
    run.exit(1)
    run.tick()
    assert run.tick(60.0) == []
    why = f"{said}\nits replacement was not ready in 60 s"
    assert run.tick(0.1) == [EndRun("worker died", why, 137)]
    run = training()
    run.exit(1)
    run.bye(2)
    why = f"{said}\nthe stages above had left already"
    assert run.tick() == [EndRun("worker died", why, 137)]


def test_nobody_is_awaited_below_whom_all_have_left() -> None:
    """It passed the run's end down and died before it could leave: no neighbour comes to meet
    its replacement.
    """
    run = training()
    run.exit(1)
    assert run.tick() == [StartWorker(1, 1)]
    run.start(1, 201)
    run.bye(0)
    said = "stage 1 (cpu, pid 101) was killed by SIGKILL; its log is logs/worker-1.log"
    why = f"{said}\nthe stages below had left already"
    assert run.tick() == [EndRun("worker died", why, 137)]


def at_target() -> Run:
    """A run that has been told to end early; its source has the word."""
    run = training(2, target=0.9, ends_early=True)
    run.hear("stage-0", BOUNDARY)
    assert run.end_epoch(1, accuracy=0.95)[-1] == Send("stage-0", Drain(RUN))
    return run


def test_a_source_that_takes_the_place_of_a_drained_one_is_told_before_it_begins() -> None:
    run = at_target()
    assert deeds(run.exit(0)) == [below(1, 1)]
    assert run.tick() == [StartWorker(0, 1)]
    run.move(1, 1, "ipc:///moved")
    run.hello(0, 1)
    run.tick()
    assert run.ready(0, 1) == [Send("stage-0.1", Drain(RUN)), begins(0)]


def test_a_source_that_is_dead_when_the_target_is_reached_has_a_successor_that_hears_of_it() -> (
    None
):
    run = training(2, target=0.9, ends_early=True)
    run.hear("stage-0", BOUNDARY)
    run.exit(0)
    actions = run.end_epoch(1, accuracy=0.95)
    assert [action for action in actions if isinstance(action, Send)] == []
    run.tick()
    run.move(1, 1, "ipc:///moved")
    run.hello(0, 1)
    run.tick()
    assert run.ready(0, 1) == [Send("stage-0.1", Drain(RUN)), begins(0)]


def test_who_dies_while_the_run_ends_early_is_replaced_as_ever() -> None:
    run = at_target()
    assert run.exit(1)[-1] == Note(
        "stage 1 (cpu, pid 101) was killed by SIGKILL; its log is logs/worker-1.log; it is "
        "replaced (1 of 9)"
    )
    assert run.tick() == [StartWorker(1, 1)]
