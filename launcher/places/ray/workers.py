"""Keeps a Ray actor at every stage that waits for somebody to join."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from dni_async.errors import HandshakeError
from dni_async.launcher.decisions.joiners import Gone, JoinedWorkers
from dni_async.launcher.places.local import thread_settings
from dni_async.launcher.places.ray.bundles import make_bundles
from dni_async.launcher.places.ray.cluster import Ended, RayActors, RayCluster
from dni_async.launcher.plan.plan import Plan
from dni_async.transport.gate import RUN_ID_VARIABLE

__all__ = ["RayWorkers", "ray_workers"]

MAX_STARTS = 3  # of a stage's actor, until its worker has said Hello


@contextmanager
def ray_workers(
    plan: Plan, cluster: RayCluster, run_id: str, note: Callable[[str], None]
) -> Iterator[RayWorkers]:
    """Room on the cluster for every stage of plan; no actor outlives the block.

    Raises HandshakeError where Ray has no room in join_timeout_s.
    """
    config = plan.config
    bundles = make_bundles(plan.num_stages, threads=plan.threads_per_worker, gpus=config.ray_gpus)
    actors = RayActors(cluster, bundles, config.ray_strategy)
    try:
        actors.reserve(config.join_timeout_s, note)
        yield RayWorkers(plan, actors, run_id)
    finally:
        actors.close()


class Actors(Protocol):
    """What is asked of RayActors."""

    def start(
        self, stage: int, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> None: ...

    def is_running(self, stage: int) -> bool: ...

    def end(self, stage: int) -> None: ...

    def hear(self) -> list[Ended]: ...

    def fileno(self) -> int: ...


class RayWorkers:
    """The workers that Ray places. control: where they join, known before the first starts."""

    def __init__(self, plan: Plan, actors: Actors, run_id: str) -> None:
        self._plan = plan
        self._actors = actors
        self._run_id = run_id
        self._starts: dict[int, int] = {}
        self._reasons: dict[int, str] = {}
        self.control = ""

    def fileno(self) -> int:
        """Readable when there is something to look after."""
        return self._actors.fileno()

    def look_after(self, joined: JoinedWorkers) -> list[Gone]:
        """Start actors for the stages that wait; the workers that have died with theirs.

        Raises HandshakeError when a stage's actor ends time and again before its worker joins.
        """
        gone = []
        for ended in self._actors.hear():
            self._reasons[ended.stage] = ended.reason
            if ended.code is None or ended.code < 0:  # else it may still have a last word to say
                gone += joined.lose(ended.stage, ended.reason)
        for stage in joined.wanted:
            if not self._actors.is_running(stage):
                self._start(stage)
        return gone

    def seat(self, stage: int) -> None:
        """The stage's worker has said Hello."""
        self._starts.pop(stage, None)

    def dismiss(self, gone: Gone) -> None:
        """Nothing is heard of that worker any more; what Ray believes of its actor is no matter."""
        stage = gone.joiner.join.stage if gone.joiner.stage is None else gone.joiner.stage
        if not gone.has_left:
            self._actors.end(stage)

    def _start(self, stage: int) -> None:
        count = self._starts[stage] = self._starts.get(stage, 0) + 1
        if count > MAX_STARTS:
            raise HandshakeError(
                f"stage {stage}: {MAX_STARTS} Ray actors have ended before a worker joined; of "
                f"the last one: {self._reasons.get(stage, 'nothing is known')}; Ray's logs say more"
            )
        config = self._plan.config
        num_threads = self._plan.threads_per_worker
        arguments = [
            f"--join={self.control}",
            f"--device={'cuda:0' if config.ray_gpus else 'cpu'}",
            f"--threads={num_threads}",
        ]
        if config.keys is not None:
            arguments.append(f"--keys={config.keys}")
        if config.insecure_without_keys:
            arguments.append("--insecure-without-keys")
        environment = thread_settings(num_threads, shares_cores=True)
        self._actors.start(stage, arguments, {**environment, RUN_ID_VARIABLE: self._run_id})
