"""A Ray cluster as the place of the workers: reserves room there, and starts an actor in each part.

Only this module and the two beside it know Ray, and nothing imports it before it is asked for.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from dni_async.errors import ConfigError, HandshakeError
from dni_async.launcher.places.ray import actor as ray_actor
from dni_async.launcher.places.ray.actor import StageActor
from dni_async.launcher.places.ray.bundles import Bundle, whats_missing

__all__ = ["Ended", "RayActors", "RayCluster", "gist", "ray_cluster"]

NAG_S = 10.0
GRACE_S = 1.0
CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A connection to a cluster.

    host: the address of this node, as the others reach it. is_on_one_host: there are none but on
    this host.
    """

    ray: Any
    host: str
    is_on_one_host: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """An actor is gone, or its worker has ended.

    code: the worker's exit code, or minus its signal; None where it was the actor that ended.
    reason: then in Ray's words.
    """

    stage: int
    code: int | None
    reason: str


@contextmanager
def ray_cluster(address: str | None) -> Iterator[RayCluster]:
    """The cluster at address (None: the one of this host), for as long as the block lasts.

    Raises ConfigError where there is none, or no ray.
    """
    if address is not None and address.startswith("ray://"):
        raise ConfigError(
            f"address: {address} is for Ray's client, whose host workers cannot reach; run "
            "dni-launch on a node of the cluster, or there by 'ray job submit'"
        )
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "engine: ray is not installed here; it comes with: pip install 'dni-async[ray]'"
        ) from error
    is_ours = not ray.is_initialized()  # a notebook may have connected before
    if is_ours:
        _connect(ray, address)
    try:
        host = ray.util.get_node_ip_address()
        others = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]} - {host}
        yield RayCluster(ray, host, is_on_one_host=not others)
    finally:
        if is_ours:
            ray.shutdown()


class RayActors:
    """Room for each bundle, reserved together, and the actors in it; a bundle for each stage."""

    def __init__(self, cluster: RayCluster, bundles: Sequence[Bundle], strategy: str) -> None:
        from ray.util.placement_group import placement_group

        self._ray = cluster.ray
        self._ray.cloudpickle.register_pickle_by_value(ray_actor)
        self._bundles = list(bundles)
        self._group = placement_group(self._bundles, strategy=strategy)
        self._running: dict[int, tuple[Any, Future[int]]] = {}
        self._heard, self._wake = socket.socketpair()
        self._heard.setblocking(False)

    def reserve(self, timeout_s: float, note: Callable[[str], None]) -> None:
        """Wait until every bundle has its room. Raises HandshakeError with what is missing."""
        began = time.monotonic()
        next_nag = began + NAG_S
        while not self._group.wait(1):
            now = time.monotonic()
            if now - began > timeout_s:
                raise HandshakeError(
                    f"waited {timeout_s:.0f} s for Ray to place {len(self._bundles)} workers: "
                    f"{self.whats_missing()}"
                )
            if now >= next_nag:
                next_nag += NAG_S
                note(f"{now - began:.0f} s: waiting for Ray: {self.whats_missing()}")

    def whats_missing(self) -> str:
        """Why the bundles have no room at this moment."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return whats_missing(self._bundles, nodes, self._ray.available_resources())

    def start(self, stage: int, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Have a new actor host the stage, as StageActor.run does; an earlier one is gone then."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        self.end(stage)
        bundle = self._bundles[stage]
        actor = (
            self._ray.remote(StageActor)
            .options(
                num_cpus=bundle["CPU"],
                num_gpus=bundle.get("GPU", 0),
                max_restarts=0,  # who is replaced, and when, the launcher decides
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    self._group, placement_group_bundle_index=stage
                ),
            )
            .remote(stage)
        )
        future = actor.run.remote(list(arguments), dict(environment)).future()
        self._running[stage] = (actor, future)
        future.add_done_callback(self._rouse)

    def fileno(self) -> int:
        """Readable when an actor has ended."""
        return self._heard.fileno()

    def hear(self) -> list[Ended]:
        """Which actors have ended since the last time."""
        with suppress(BlockingIOError):
            self._heard.recv(4096)
        done = [stage for stage, (_, future) in self._running.items() if future.done()]
        return [self._end_of(stage) for stage in done]

    def end(self, stage: int) -> None:
        """Kill the stage's actor, if it has one, and its worker with it."""
        if stage in self._running:
            actor, _ = self._running.pop(stage)
            self._ray.kill(actor)

    def close(self) -> None:
        """Give the actors a moment to end, kill those that are left, give back the room."""
        from ray.util.placement_group import remove_placement_group

        deadline = time.monotonic() + GRACE_S
        while self._running and (left_s := deadline - time.monotonic()) > 0:
            select.select([self._heard], [], [], left_s)
            self.hear()
        for stage in list(self._running):
            self.end(stage)
        remove_placement_group(self._group)
        self._heard.close()
        self._wake.close()

    def _rouse(self, _future: Future[int]) -> None:
        """Called in a thread of Ray's."""
        with suppress(OSError):  # closed already
            self._wake.send(b".")

    def _end_of(self, stage: int) -> Ended:
        _, future = self._running[stage]
        try:
            code = future.result(0)
            ended = Ended(stage, code, f"its worker ended with code {code}")
        except self._ray.exceptions.RayError as error:
            ended = Ended(stage, None, gist(str(error)))
        self.end(stage)  # one that Ray could not reach for a while may live
        return ended


def _connect(ray: Any, address: str | None) -> None:
    """Raises ConfigError. Ray would have SIGTERM for itself; it stays the launcher's."""
    where = address or os.environ.get("RAY_ADDRESS") or "this host"
    advice = "'ray start --head' starts one, and --address names one"
    if re.fullmatch(r"[^\s:/]+:[0-9]{1,5}", where):  # where nobody listens Ray asks for minutes
        host, _, port = where.partition(":")
        try:
            socket.create_connection((host, int(port)), CONNECT_S).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"address: no Ray cluster answers at {where} ({reason}); {advice}"
            ) from error
    ours = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address or "auto", log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"address: no Ray cluster answers at {where} ({gist(str(error))}); {advice}"
        ) from error
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)


def gist(text: str) -> str:
    """The sentence that says why; Ray's explanations go on for paragraphs."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason was given"]
    why = [line for line in lines if line.startswith("The actor") and "because" in line]
    last = why[-1] if why else lines[-1]
    return last.partition(". ")[0].rstrip(".")[:300]
