"""Who is admitted, who joins, when the run begins, and who is waited for."""

from __future__ import annotations

import pytest

from dni_async.launcher.decisions.actions import (
    EndActor,
    EndRun,
    EnterDeath,
    EnterStart,
    Note,
    RunAction,
    Send,
    SendWelcome,
    StartActor,
    StartWorker,
)
from dni_async.launcher.decisions.events import ActorEnded, Reached, Refused
from dni_async.launcher.decisions.joined.actors import MAX_STARTS
from dni_async.launcher.decisions.state import MAX_REFUSED
from dni_async.wire.messages import (
    Alive,
    Assigned,
    Bye,
    FileWanted,
    Heartbeat,
    NeighbourReplaced,
    Ready,
    Start,
    Stop,
)
from tests.launcher.decisions.runs import RUN, Run, inbox, remote, seated, training

HEARTBEAT = Heartbeat(RUN)


def sent(actions: list[RunAction], kind: type) -> list[str]:
    """To whom messages of that kind go."""
    return [a.peer for a in actions if isinstance(a, Send) and isinstance(a.message, kind)]


def test_all_are_welcomed_with_the_last_hello_and_begin_with_the_last_ready() -> None:
    run = Run(3)
    assert run.begin() == [StartWorker(0, 0), StartWorker(1, 0), StartWorker(2, 0)]
    assert run.hello(2) == run.hello(0) == []
    assert run.hello(1) == [
        SendWelcome("stage-0", 0, inbox(1), "cpu", 1, 0, (0, 1)),
        SendWelcome("stage-1", 1, inbox(2), "cpu", 1, 0, (1, 2)),
        SendWelcome("stage-2", 2, "", "cpu", 1, 0, (2, 3)),
    ]
    assert run.ready(1) == run.ready(0) == run.tick() == run.ready(2) == []
    assert run.tick() == [
        *(Send(f"stage-{stage}", Start(RUN)) for stage in range(3)),
        EnterStart((100, 101, 102)),
    ]
    assert run.tick() == []


def test_whoever_is_missing_is_named_and_ends_the_run() -> None:
    run = Run(2)
    run.begin()
    run.start(1, 101)
    assert run.tick(10.0) == [Note("10 s: waiting for Hello from stage 0, stage 1 (pid 101)")]
    assert run.tick(9.0) == []
    assert run.tick(41.0) == [Note("60 s: waiting for Hello from stage 0, stage 1 (pid 101)")]
    missing = "waited 60 s for Hello from stage 0, stage 1 (pid 101); logs are in logs"
    assert run.tick(0.1) == [EndRun("nobody joined", missing)]


def test_the_time_to_build_counts_from_the_last_hello() -> None:
    run = remote()
    run.join("joiner 0")
    run.join("joiner 1")
    run.tick()
    run.now += 599.0
    run.hello(0)
    run.hello(1)
    run.ready(0)
    run.tick()
    assert not any(isinstance(action, EndRun) for action in run.tick(60.0))
    *_, end = run.tick(0.1)
    assert end == EndRun(
        "nobody joined", "waited 60 s for Ready from stage 1 (pid 101); logs are in logs"
    )


def test_a_mistake_is_told_once_for_each_peer_and_for_so_many_of_them() -> None:
    run = Run(2)
    run.begin()
    note = Note("a worker was refused: stage 7 of 2 does not exist")
    assert run.hello(7) == [note]
    assert run.hello(7) == []
    assert run.handle(Refused(run.now, "x", "no msgpack")) == [
        Note("a message was refused: no msgpack")
    ]
    told = [run.handle(Refused(run.now, str(peer), "bad")) for peer in range(2 * MAX_REFUSED)]
    assert sum(map(len, told)) == MAX_REFUSED - 2


@pytest.mark.parametrize("peer", ["stage-1", "stranger"])
def test_what_another_says_for_a_stage_is_not_heard(peer: str) -> None:
    run = training(2)
    for message in (Bye(RUN, 0), Ready(RUN, 0), FileWanted(RUN, 0), Bye("another", 1)):
        assert all(isinstance(action, Note) for action in run.hear(peer, message))
        assert run.hear(peer, message) == []
    run.bye(1)
    run.tick()
    assert run.bye(0) == []
    assert run.tick() == [EndRun("done")]


def test_who_joins_is_shown_that_somebody_is_there_and_given_a_stage() -> None:
    run = remote()
    assert run.join("a", 1) == []
    assert run.tick() == [Send("a", Assigned(RUN, 1, 0))]
    run.join("b")
    run.join("c")
    assert run.tick() == [Send("b", Assigned(RUN, 0, 0)), Send("c", HEARTBEAT)]
    assert run.hello(1) == [Note("stage 1 joined: host, pid 101, cpu")]
    assert run.tick(0.4) == []
    assert sent(run.tick(0.2), Heartbeat) == ["stage-1", "c"]


def test_threads_of_one_who_joined_are_its_own() -> None:
    run = remote()
    run.join("a", 0, num_threads=5)
    run.join("b", 1, machine="other")
    run.tick()
    run.hello(0)
    *_, first, second = run.hello(1)
    assert isinstance(first, SendWelcome)
    assert isinstance(second, SendWelcome)
    assert (first.num_threads, second.num_threads) == (5, 8)


def test_a_spare_takes_the_place_of_one_whose_connection_has_ended() -> None:
    run = seated()
    run.join("spare")
    run.handle(Reached(run.now, "stage-1", is_connected=False))
    run.tell(1)  # said before
    assert run.tick(1.9) == [Send(peer, HEARTBEAT) for peer in ("stage-0", "stage-1", "spare")]
    run.hear("spare", Alive(7))
    actions = run.tick(0.2)
    text = "stage 1 (cpu, on elsewhere, pid 7) was lost: its connection has ended"
    assert actions == [
        Send("stage-1", Stop(RUN, "its stage is hosted by another")),
        EnterDeath(1, text, run.now - 100.0),
        Note(f"{text}; it is replaced (1 of 9)"),
    ]
    assert run.tick() == [Send("spare", Assigned(RUN, 1, 1))]
    run.hello(1, 1)
    assert run.tick()[-1] == Send("stage-0", NeighbourReplaced(RUN, "above", 1, inbox(1, 1)))


def test_a_connection_that_is_made_again_was_no_death() -> None:
    run = seated()
    run.handle(Reached(run.now, "stage-1", is_connected=False))
    run.now += 1.0
    run.handle(Reached(run.now, "stage-1", is_connected=True))
    run.tell(0)
    run.tell(1)
    assert {type(action) for action in run.tick(5.0)} == {Send}


def test_one_that_leaves_before_anybody_knows_of_it_is_no_death() -> None:
    run = remote()
    run.join("a", 0)
    run.tick()
    run.hello(0)
    assert run.join("a again", 0, token="a") == [
        Note("stage 0 (elsewhere, pid 7): it has left to join again")
    ]
    assert run.tick() == [Send("a again", Assigned(RUN, 0, 0))]


def test_one_that_does_not_take_its_stage_is_given_up() -> None:
    run = remote()
    run.join("a", 0)
    run.tick()
    assert run.tick(20.1)[0] == Note("elsewhere, pid 7: it did not say Hello within 20 s")
    run.join("b", 0)
    assert run.tick()[0] == Send("b", Assigned(RUN, 0, 0))


def actors() -> Run:
    """A cluster is to place both workers, and has been asked to."""
    run = remote(actors=True)
    assert run.tick() == [StartActor(0), StartActor(1)]
    assert run.tick() == []
    return run


def with_actors() -> Run:
    """Both train."""
    run = actors()
    for stage in run.stages:
        run.join(f"joiner {stage}", stage)
    run.tick()
    for stage in run.stages:
        run.hello(stage)
        run.ready(stage)
    run.tick()
    return run


def end_actor(run: Run, stage: int, code: int | None, reason: str = "killed") -> list[RunAction]:
    """The cluster says that it is gone."""
    return run.handle(ActorEnded(run.now, stage, code, reason))


def test_a_worker_is_lost_with_its_actor_at_once() -> None:
    run = with_actors()
    actions = end_actor(run, 1, None, "its node died")
    text = "stage 1 (cpu, on elsewhere, pid 7) was lost: its node died"
    assert actions[-1] == Note(f"{text}; it is replaced (1 of 9)")
    run.tick()
    assert StartActor(1) in run.tick()


def test_a_worker_that_ended_by_itself_may_still_have_a_last_word() -> None:
    run = with_actors()
    assert end_actor(run, 0, 1) == []
    assert run.tick() == []


def test_a_worker_that_left_to_join_again_keeps_its_actor() -> None:
    run = with_actors()
    actions = run.join("again", 0, token="joiner 0")
    assert not any(isinstance(action, EndActor) for action in actions)
    run.tick()
    assert run.tick() == [Send("again", Assigned(RUN, 0, 1))]


def test_a_silent_worker_gets_another_actor_whatever_the_cluster_believes() -> None:
    run = with_actors()
    run.now += 29.0
    run.tell(0)
    assert EndActor(1) in run.tick(1.1)
    assert StartActor(1) in run.tick()


def test_actors_that_end_before_anybody_joins_end_the_run() -> None:
    run = actors()
    for _ in range(MAX_STARTS - 1):
        end_actor(run, 1, None, "dni-async is not installed on node-7")
        assert run.tick() == [StartActor(1)]
    end_actor(run, 1, None, "dni-async is not installed on node-7")
    (end,) = run.tick()
    assert isinstance(end, EndRun)
    assert end.ending == "nobody joined"
    assert end.why.startswith("stage 1: 3 Ray actors have ended before a worker joined; of the ")
    assert end.why.endswith("dni-async is not installed on node-7; Ray's logs say more")


def test_a_stage_that_was_seated_counts_anew() -> None:
    run = with_actors()
    for incarnation in range(1, MAX_STARTS + 2):
        end_actor(run, 1, None)
        run.now += 10.0
        run.tell(0)
        run.tick()
        assert StartActor(1) in run.tick()
        run.join(f"joiner {1 + 10 * incarnation}", 1)
        run.tick()
        run.hello(1, incarnation)
        run.tick()
        run.ready(1, incarnation)
