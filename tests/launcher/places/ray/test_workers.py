"""How a stage's actor is started; without Ray."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from dni_async.config.run_config import RunConfig
from dni_async.launcher.places.ray.cluster import Ended
from dni_async.launcher.places.ray.workers import RayWorkers
from dni_async.launcher.plan.plan import make_plan
from dni_async.transport.rings import make_rings, read_invitation

RUN = RunConfig(engine="ray", layers=3, threads_per_worker=2)
PLAN = make_plan(dataclasses.replace(RUN, listen="tcp://127.0.0.1:0"))


class Actors:
    """What RayWorkers asks of RayActors, written down."""

    def __init__(self) -> None:
        self.running: dict[int, tuple[list[str], dict[str, str]]] = {}

    def start(self, stage: int, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.running[stage] = (list(arguments), dict(environment))

    def end(self, stage: int) -> None:
        del self.running[stage]

    def hear(self) -> list[Ended]:
        return [Ended(1, None, "its node died")]

    def fileno(self) -> int:
        return 0


def test_an_actor_runs_a_worker_that_joins_for_its_stage() -> None:
    actors = Actors()
    ring = make_rings()[1]
    workers = RayWorkers(PLAN, actors, ring)
    workers.control = "tcp://127.0.0.1:7"
    workers.start(1)
    arguments, environment = actors.running[1]
    assert arguments == ["--join=tcp://127.0.0.1:7", "--device=cpu", "--threads=2"]
    assert environment["OMP_NUM_THREADS"] == "2"
    assert read_invitation(environment["DNI_INVITATION"]) == ring
    assert workers.hear() == [Ended(1, None, "its node died")]
    workers.end(1)
    assert actors.running == {}
