"""Which stages get a Ray actor when, and who is known to have died with one; without Ray."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.errors import HandshakeError
from dni_async.launcher.decisions.joiners import Gone, JoinedWorkers
from dni_async.launcher.places.ray.cluster import Ended
from dni_async.launcher.places.ray.workers import MAX_STARTS, RayWorkers
from dni_async.launcher.plan.plan import make_plan
from dni_async.wire.messages import PROTOCOL, Join


class Actors:
    """What RayWorkers asks of RayActors, written down; the test says which have ended."""

    def __init__(self) -> None:
        self.running: dict[int, list[str]] = {}
        self.environment: dict[str, str] = {}
        self.num_started = 0
        self.ended: list[Ended] = []

    def start(self, stage: int, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.running[stage] = list(arguments)
        self.environment = dict(environment)
        self.num_started += 1

    def is_running(self, stage: int) -> bool:
        return stage in self.running

    def end(self, stage: int) -> None:
        self.running.pop(stage, None)

    def die(self, stage: int, code: int | None, reason: str = "killed") -> None:
        """As an actor does by itself."""
        self.end(stage)
        self.ended.append(Ended(stage, code, reason))

    def hear(self) -> list[Ended]:
        heard, self.ended = self.ended, []
        return heard

    def fileno(self) -> int:
        return 0


RUN = RunConfig(engine="ray", layers=3, threads_per_worker=2, insecure_without_keys=True)
PLAN = make_plan(dataclasses.replace(RUN, listen="tcp://127.0.0.1:0"))


@pytest.fixture
def actors() -> Actors:
    return Actors()


@pytest.fixture
def workers(actors: Actors) -> RayWorkers:
    made = RayWorkers(PLAN, actors, "id-of-the-run")
    made.control = "tcp://127.0.0.1:7"
    return made


@pytest.fixture
def joined() -> JoinedWorkers:
    made = JoinedWorkers(PLAN.num_stages, 30.0)
    for stage in range(PLAN.num_stages):
        made.want(stage, 0)
    return made


def offer(stage: int, pid: int) -> Join:
    """The offer of an actor's worker."""
    return Join(PROTOCOL, pid, "node", "machine", 4, 2, "cpu", stage, False, f"process {pid}")


def seat(joined: JoinedWorkers, workers: RayWorkers, stage: int) -> bytes:
    """The stage's worker joins and takes it; how to reach it."""
    peer = b"peer-%d" % stage
    joined.enter(peer, offer(stage, stage), 0.0)
    joined.assign(0.0)
    joined.seat(stage, peer, 0.0)
    workers.seat(stage)
    return peer


def test_every_stage_that_waits_gets_one_actor(
    workers: RayWorkers, actors: Actors, joined: JoinedWorkers
) -> None:
    for _ in range(3):
        assert workers.look_after(joined) == []
    assert sorted(actors.running) == [0, 1, 2]
    assert actors.num_started == 3
    assert actors.running[1] == [
        "--join=tcp://127.0.0.1:7",
        "--device=cpu",
        "--threads=2",
        "--insecure-without-keys",
    ]
    assert actors.environment["OMP_NUM_THREADS"] == "2"
    assert actors.environment["DNI_RUN_ID"] == "id-of-the-run"


def test_a_worker_is_lost_with_its_actor_at_once(
    workers: RayWorkers, actors: Actors, joined: JoinedWorkers
) -> None:
    workers.look_after(joined)
    for stage in range(3):
        seat(joined, workers, stage)
    actors.die(1, None, "The actor is dead because of a test")
    (gone,) = workers.look_after(joined)
    assert (gone.joiner.stage, gone.why) == (1, "The actor is dead because of a test")
    assert joined.host_of(1) is None
    assert not actors.is_running(1)  # until the coordinator wants another
    joined.want(1, 1)
    assert workers.look_after(joined) == []
    assert actors.is_running(1)


def test_a_worker_that_ended_by_itself_may_still_have_a_last_word(
    workers: RayWorkers, actors: Actors, joined: JoinedWorkers
) -> None:
    workers.look_after(joined)
    seat(joined, workers, 0)
    actors.die(0, 1)
    assert workers.look_after(joined) == []
    assert joined.host_of(0) is not None


def test_a_worker_that_left_to_join_again_keeps_its_actor(
    workers: RayWorkers, actors: Actors, joined: JoinedWorkers
) -> None:
    workers.look_after(joined)
    seat(joined, workers, 0)
    gone = joined.enter(b"again", offer(0, 0), 1.0)
    assert gone is not None
    workers.dismiss(gone)
    joined.want(0, 1)
    workers.look_after(joined)
    assert actors.num_started == 3
    assert [told[1:] for told in joined.assign(1.0)] == [(0, 1)]


def test_a_silent_worker_gets_another_actor_whatever_ray_believes(
    workers: RayWorkers, actors: Actors, joined: JoinedWorkers
) -> None:
    workers.look_after(joined)
    seat(joined, workers, 2)
    silent: list[Gone] = joined.sweep(31.0, {2})
    for gone in silent:
        workers.dismiss(gone)
    assert not actors.is_running(2)
    joined.want(2, 1)
    workers.look_after(joined)
    assert actors.num_started == 4


def test_actors_that_end_before_anybody_joins_end_the_run(
    workers: RayWorkers, actors: Actors, joined: JoinedWorkers
) -> None:
    for _ in range(MAX_STARTS):
        workers.look_after(joined)
        actors.die(2, None, "ModuleNotFoundError: dni-async is not installed on node-7")
    with pytest.raises(HandshakeError, match=r"stage 2: 3 Ray actors .* on node-7; Ray's logs"):
        workers.look_after(joined)


def test_a_stage_that_was_seated_counts_anew(
    workers: RayWorkers, actors: Actors, joined: JoinedWorkers
) -> None:
    for incarnation in range(2 * MAX_STARTS):
        workers.look_after(joined)
        seat(joined, workers, 1)
        actors.die(1, -9)
        assert len(workers.look_after(joined)) == 1
        joined.want(1, incarnation + 1)
