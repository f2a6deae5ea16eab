"""Starts a Ray actor for every stage that the run's machine wants one for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from dni_async.launcher.places.local import thread_settings
from dni_async.launcher.places.ray.bundles import make_bundles
from dni_async.launcher.places.ray.cluster import Ended, RayActors, RayCluster
from dni_async.launcher.plan.plan import Plan
from dni_async.transport.keys import KeyRing
from dni_async.transport.rings import INVITATION_VARIABLE, invitation_of

__all__ = ["RayWorkers", "ray_workers"]


@contextmanager
def ray_workers(
    plan: Plan, cluster: RayCluster, ring: KeyRing | None, note: Callable[[str], None]
) -> Iterator[RayWorkers]:
    """Room on the cluster for every stage of plan; no actor outlives the block.

    ring: of the workers, who get it through Ray; None where they have a folder of keys.
    Raises HandshakeError where Ray has no room in join_timeout_s.
    """
    config = plan.config
    bundles = make_bundles(plan.num_stages, threads=plan.threads_per_worker, gpus=config.ray_gpus)
    actors = RayActors(cluster, bundles, config.ray_strategy)
    try:
        actors.reserve(config.join_timeout_s, note)
        yield RayWorkers(plan, actors, ring)
    finally:
        actors.close()


class Actors(Protocol):
    """What is asked of RayActors."""

    def start(
        self, stage: int, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> None: ...

    def end(self, stage: int) -> None: ...

    def hear(self) -> list[Ended]: ...

    def fileno(self) -> int: ...


class RayWorkers:
    """The workers that Ray places. control: where they join, known before the first starts."""

    def __init__(self, plan: Plan, actors: Actors, ring: KeyRing | None) -> None:
        self._plan = plan
        self._actors = actors
        self._ring = ring
        self.control = ""

    def fileno(self) -> int:
        """Readable when there is something to hear."""
        return self._actors.fileno()

    def hear(self) -> list[Ended]:
        """Which actors have ended since the last time."""
        return self._actors.hear()

    def end(self, stage: int) -> None:
        """Nothing is heard of the stage's worker any more, whatever Ray believes of its actor."""
        self._actors.end(stage)

    def start(self, stage: int) -> None:
        """Have an actor run a worker that joins for the stage."""
        config = self._plan.config
        num_threads = self._plan.threads_per_worker
        arguments = [
            f"--join={self.control}",
            f"--device={'cuda:0' if config.ray_gpus else 'cpu'}",
            f"--threads={num_threads}",
        ]
        environment = thread_settings(num_threads, shares_cores=True)
        if config.keys is not None:
            arguments.append(f"--keys={config.keys}")
        elif self._ring is not None:
            environment[INVITATION_VARIABLE] = invitation_of(self._ring)
        self._actors.start(stage, arguments, environment)
