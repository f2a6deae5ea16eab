"""Everybody who works on a run: reaches them by stage, wherever they are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from dni_async.errors import LinkError, WorkerDied
from dni_async.launcher.decisions.joiners import Gone, JoinedWorkers
from dni_async.launcher.decisions.roster import Roster
from dni_async.launcher.places.local import Exited, Started, WorkerProcesses
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.transport.channels import ControlServer
from dni_async.transport.sockets import Poller
from dni_async.wire.messages import (
    Assigned,
    CoordinatorMessage,
    Heartbeat,
    Hello,
    Join,
    Message,
    Stop,
)

if TYPE_CHECKING:
    from dni_async.launcher.places.ray.workers import RayWorkers

__all__ = ["Members"]

HEARTBEAT_S = 0.5
STOP_S = 0.5


class Members:
    """The workers of a run. processes: of this host, None where all join from elsewhere.

    ray_workers: those that a Ray cluster places, if it does.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        control: ControlServer,
        roster: Roster,
        processes: WorkerProcesses | None,
        ray_workers: RayWorkers | None = None,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._control = control
        self._roster = roster
        self._processes = processes
        self._ray_workers = ray_workers
        self._peers: dict[int, bytes] = {}
        self._next_beat = 0.0
        self.joined = JoinedWorkers(plan.num_stages, plan.config.silent_after_s)

    def watch(self, poller: Poller) -> None:
        """Have poller wait for whatever they do."""
        poller.watch(self._control)
        if self._processes is not None:
            poller.watch(self._processes.fileno())
        if self._ray_workers is not None:
            poller.watch(self._ray_workers.fileno())

    @property
    def alive(self) -> Mapping[int, int]:
        """The workers of this host: stages by pid."""
        return {} if self._processes is None else self._processes.alive

    def device(self, stage: int) -> str:
        """What the stage computes on."""
        host = self.joined.host_of(stage)
        return self._plan.devices[stage] if host is None else host.join.device

    def num_threads(self, stage: int) -> int:
        """Of the stage's worker."""
        asked = self._plan.config.threads_per_worker
        if self.joined.host_of(stage) is None:
            return self._plan.threads_per_worker
        return asked or self.joined.num_threads(stage)

    def start(self, stage: int, incarnation: int) -> None:
        """Have somebody host stage: a new process, or who joins."""
        config = self._plan.config
        if self._plan.is_remote(stage):
            self.joined.want(stage, incarnation)
            return
        assert self._processes is not None
        self._processes.start(
            stage=stage,
            coordinator=self._control.endpoint,
            run_id=self._roster.run_id,
            log=self._folder.log(stage),
            incarnation=incarnation,
            keys=config.keys,
            is_open=config.insecure_without_keys,
            interface=self._plan.own_address if config.has_remote else "",
        )

    def enter(self, peer: bytes, join: Join, now: float) -> Gone | None:
        """Somebody joins; the stage it has left, if it hosted one. Raises HandshakeError."""
        try:
            return self.joined.enter(peer, join, now)
        finally:
            self._next_beat = 0.0  # it waits for an answer

    def seat(self, peer: bytes, hello: Hello) -> None:
        """The stage's worker is reached by peer."""
        self._peers[hello.stage] = peer
        self.joined.seat(hello.stage, peer, time.monotonic())
        if self._ray_workers is not None:
            self._ray_workers.seat(hello.stage)

    def dismiss(self, stage: int, gone: Gone | None = None) -> None:
        """The stage's worker counts as dead, whatever may still come from it."""
        if not self._plan.is_remote(stage):
            return
        self.joined.dismiss(stage)
        peer = self._peers.pop(stage, None)
        if peer is not None and (gone is None or not gone.has_left):
            self._tell(peer, Stop(self._roster.run_id, "its stage is hosted by another"))

    def is_genuine(self, peer: bytes, message: Message) -> bool:
        """Whether message is of this run and of the stage that peer hosts."""
        stage = getattr(message, "stage", None)
        is_own = stage is None or self._peers.get(stage) == peer
        return is_own and getattr(message, "run_id", None) == self._roster.run_id

    def hear_processes(self, readable: Iterable[int]) -> list[Started | Exited]:
        """What has happened to those of this host. Raises WorkerDied if their parent died."""
        if self._processes is None or self._processes.fileno() not in readable:
            return []
        return self._processes.hear()

    def beat(self, now: float, training: set[int]) -> list[Gone]:
        """Give stages to those who joined, and show and ask twice a second who is there."""
        run_id = self._roster.run_id
        for peer, stage, incarnation in self.joined.assign(now):
            self._tell(peer, Assigned(run_id, stage, incarnation))
        gone = [] if self._ray_workers is None else self._ray_workers.look_after(self.joined)
        if now < self._next_beat:
            return gone
        self._next_beat = now + HEARTBEAT_S
        for peer in self.joined.reachable:
            self.joined.reach(peer, self._tell(peer, Heartbeat(run_id)), now)
        silent = self.joined.sweep(now, training)
        if self._ray_workers is not None:
            for each in silent:
                self._ray_workers.dismiss(each)
        return gone + silent

    def send(self, stage: int, message: CoordinatorMessage) -> None:
        """To the worker of stage, if that is there."""
        if stage in self._peers:
            self._tell(self._peers[stage], message)

    def tell_all(self, message: CoordinatorMessage) -> None:
        """To the workers of all stages."""
        for stage in self._peers:
            self.send(stage, message)

    def stop(self) -> None:
        """Ask all to leave, and wait a moment for those of this host."""
        stop = Stop(self._roster.run_id, "the launcher ends the run")
        for peer in {*self._peers.values(), *self.joined.reachable}:
            self._tell(peer, stop)
        if self._processes is None:
            return
        deadline = time.monotonic() + STOP_S
        poller = Poller()
        poller.watch(self._processes.fileno())
        with suppress(WorkerDied):  # the fork server is gone and its workers with it
            while self._processes.alive and time.monotonic() < deadline:
                if poller.wait(deadline - time.monotonic()):
                    self._processes.hear()

    def _tell(self, peer: bytes, message: CoordinatorMessage) -> bool:
        """Whether it could be sent; if not, its end was or will be noticed."""
        try:
            self._control.send(peer, message)
        except LinkError:
            return False
        return True
