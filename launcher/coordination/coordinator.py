"""Runs the line of workers: admits them, starts them, follows them, ends them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dni_async.errors import HandshakeError, WireError
from dni_async.launcher.coordination.complaints import Complaints
from dni_async.launcher.coordination.deaths import Losses
from dni_async.launcher.coordination.invitation import choose_run_id, invitation
from dni_async.launcher.coordination.ledger import Account
from dni_async.launcher.coordination.members import Members
from dni_async.launcher.coordination.records import Records
from dni_async.launcher.coordination.stuck import StuckWorkers
from dni_async.launcher.coordination.welcome import make_welcome
from dni_async.launcher.decisions.roster import Roster
from dni_async.launcher.decisions.succession import Replacing
from dni_async.launcher.decisions.vacancies import Replacements
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.places.local import WorkerProcesses, worker_processes
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.results import RunResult
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.received_files import parts_of
from dni_async.stage.compilation import COMPILE_S
from dni_async.transport.channels import ControlServer
from dni_async.transport.gate import Guard
from dni_async.transport.keys import read_keys
from dni_async.transport.sockets import Poller, open_sockets
from dni_async.wire.messages import (
    Bye,
    Drain,
    Failed,
    FileWanted,
    Hello,
    InboxMoved,
    Join,
    Message,
    Progress,
    Ready,
    Start,
    Welcome,
)

if TYPE_CHECKING:
    from dni_async.launcher.places.ray.cluster import RayCluster
    from dni_async.launcher.places.ray.workers import RayWorkers

__all__ = ["train_decoupled"]

NAG_S = 10.0


def train_decoupled(
    plan: Plan,
    folder: RunFolder,
    display: Display,
    result: RunResult,
    shards: Sequence[Path] = (),
    cluster: RayCluster | None = None,
) -> None:
    """Train plan's network with one worker process per stage; the weights lie in folder.

    shards: the files that stages start from, by stage; none: they start from the seed. cluster:
    which places the workers, if any does.
    Fills in result as it goes, so that an interrupted run shows what it did. Raises HandshakeError
    when somebody does not join in time, WorkerDied with the first cause when a worker fails.
    Whatever happens, no worker outlives the call.
    """
    began = time.perf_counter()
    config = plan.config
    run_id = choose_run_id(os.environ if config.has_remote else {})
    ring = None if config.keys is None else read_keys(Path(config.keys), "coordinator")
    guard = Guard(run_id, ring, is_open=config.insecure_without_keys)
    with (
        open_sockets(guard, display.note) as sockets,
        _processes(plan, folder) as processes,
        _ray_workers(plan, cluster, run_id, display) as ray_workers,
    ):
        address = f"tcp://{config.interface}:0"
        if config.listen is not None:
            address = plan.control_address
        elif config.transport != "tcp" and processes is not None:
            address = f"ipc://{processes.folder}/control"
        control = sockets.control_server(address)
        roster = Roster(plan.num_stages, run_id, may_be_near=config.transport == "auto")
        members = Members(plan, folder, control, roster, processes, ray_workers)
        coordinator = _Coordinator(
            plan, folder, display, control, members, roster, result, began, shards
        )
        if ray_workers is not None:
            ray_workers.control = control.endpoint
        elif config.has_remote:
            display.note(invitation(plan, control.endpoint, run_id))
        try:
            coordinator.run()
        finally:
            coordinator.stop_everybody()


@contextmanager
def _processes(plan: Plan, folder: RunFolder) -> Iterator[WorkerProcesses | None]:
    """What starts the workers of this host, if any are to be."""
    if all(plan.is_remote(stage) for stage in range(plan.num_stages)):
        yield None
        return
    log = folder.logs / "fork-server.log"
    with worker_processes(plan.threads_per_worker, log, folder.held) as processes:
        yield processes


@contextmanager
def _ray_workers(
    plan: Plan, cluster: RayCluster | None, run_id: str, display: Display
) -> Iterator[RayWorkers | None]:
    """What has a Ray cluster place the workers, if one does."""
    if cluster is None:
        yield None
        return
    from dni_async.launcher.places.ray.workers import ray_workers

    with ray_workers(plan, cluster, run_id, display.note) as placed:
        yield placed


class _Coordinator:
    """The state of one run as the launcher sees it."""

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        display: Display,
        control: ControlServer,
        members: Members,
        roster: Roster,
        result: RunResult,
        began: float,
        shards: Sequence[Path],
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._display = display
        self._control = control
        self._members = members
        self._roster = roster
        self._complain = Complaints(display.note)
        self._has_started = False
        self._replacements = Replacements(plan.config.max_restarts)
        account = Account(
            plan,
            folder,
            display,
            result,
            self._replacements,
            members.device,
            began=began,
            is_resumed=bool(shards),
        )
        self._records = Records(plan, folder, display, account, self._replacements, shards)
        self._replacing = Replacing(
            self._roster,
            self._replacements,
            send=members.send,
            start=members.start,
            welcome=self._welcome,
            timeout_s=lambda stage: self._timeout_s + self._join_s(stage),
        )
        self._stuck = StuckWorkers(plan, folder, roster, members.alive, display.note)
        self._losses = Losses(
            plan,
            folder,
            display,
            account,
            members,
            roster,
            self._replacements,
            self._replacing,
            self._stuck,
        )

    def run(self) -> None:
        """From the first process to the last Bye."""
        stages = range(self._plan.num_stages)
        if self._plan.config.has_remote:
            self._records.carried.mark(self._roster.run_id)
        for stage in stages:
            self._members.start(stage, 0)
        poller = Poller()
        self._members.watch(poller)
        join_s = max(map(self._join_s, stages))
        self._follow(poller, lambda: self._roster.all_admitted, join_s or self._timeout_s)
        self._follow(poller, lambda: self._roster.all_ready, self._timeout_s)
        self._has_started = self._losses.has_started = True
        self._members.tell_all(Start(self._roster.run_id))
        self._records.account.start(self._roster.pids)
        self._follow(poller, lambda: self._roster.all_left, None)

    @property
    def _timeout_s(self) -> float:
        """How long a worker may take from its start to Ready."""
        config = self._plan.config
        return config.start_timeout_s + (COMPILE_S if config.compile else 0.0)

    def _join_s(self, stage: int) -> float:
        """How long it may take until somebody joins for stage."""
        return self._plan.config.join_timeout_s if self._plan.is_remote(stage) else 0.0

    def stop_everybody(self) -> None:
        """Ask those still there to leave; what does not is killed when the processes close."""
        self._records.account.close(self._roster.pids)
        self._records.carried.unmark()
        self._members.stop()

    def _follow(self, poller: Poller, done: Callable[[], bool], timeout_s: float | None) -> None:
        """Hear everybody until done. Raises WorkerDied, HandshakeError."""
        began = time.monotonic()
        next_nag = began + NAG_S
        while not done():
            for event in self._members.hear_processes(poller.wait(0.1)):
                self._losses.hear_process(event)
            self._hear_workers()
            now = time.monotonic()
            for gone in self._members.beat(now, self._training):
                self._losses.hear_gone(gone)
            self._losses.explain(now)
            self._replacing.fill(now)
            self._losses.check(now)
            if timeout_s is None:
                self._stuck.look(now)
                continue
            if now - began > timeout_s:
                raise HandshakeError(
                    f"waited {timeout_s:.0f} s for {self._roster.missing()}; "
                    f"logs are in {self._folder.logs}"
                )
            if now >= next_nag:
                next_nag += NAG_S
                self._display.note(f"{now - began:.0f} s: waiting for {self._roster.missing()}")

    @property
    def _training(self) -> set[int]:
        """Stages whose workers are to be heard twice a second."""
        return self._roster.ready - self._roster.left if self._has_started else set()

    def _hear_workers(self) -> None:
        while True:
            try:
                received = self._control.receive()
            except WireError as error:
                self._complain(error.peer, f"a message was refused: {error}")
                continue
            if received is None:
                return
            peer, message = received
            self._members.joined.hear(peer, time.monotonic())
            if isinstance(message, Hello):
                self._admit(peer, message)
            elif isinstance(message, Join):
                self._enter(peer, message)
            elif self._members.is_genuine(peer, message):
                self._hear(message)

    def _admit(self, peer: bytes, hello: Hello) -> None:
        try:
            self._roster.admit(hello)
        except HandshakeError as error:
            self._complain(peer, f"a worker was refused: {error}")
            return
        self._members.seat(peer, hello)
        if self._plan.is_remote(hello.stage):
            device = self._members.device(hello.stage)
            self._display.note(
                f"stage {hello.stage} joined: {hello.host}, pid {hello.pid}, {device}"
            )
        if self._roster.all_admitted and not self._has_started:
            for stage in range(self._plan.num_stages):
                self._members.send(stage, self._welcome(stage, peer=self._roster.peer_of(stage)))

    def _enter(self, peer: bytes, join: Join) -> None:
        try:
            gone = self._members.enter(peer, join, time.monotonic())
        except HandshakeError as error:
            self._complain(peer, f"a worker was refused: {error}")
            return
        if gone is not None:
            self._losses.hear_gone(gone)

    def _welcome(self, stage: int, *, peer: str) -> Welcome:
        return make_welcome(
            self._plan,
            self._folder,
            run_id=self._roster.run_id,
            stage=stage,
            device=self._members.device(stage),
            num_threads=self._members.num_threads(stage),
            peer=peer,
            next_batch_id=self._records.source.next_batch_id if stage == 0 else 0,
            shard=str(self._records.shard(stage) or ""),
        )

    def _hear(self, message: Message) -> None:
        match message:
            case Ready(stage=stage):
                self._seat(stage)
            case InboxMoved():
                self._replacing.hear_inbox(message)
            case FileWanted(stage=stage):
                self._send_shard(stage)
            case Bye(stage=stage):
                self._roster.left.add(stage)
                self._losses.hear_bye(stage)
            case Failed():
                self._losses.hear_failed(message)
            case _:
                if isinstance(message, Progress):
                    self._stuck.hear(message.stage)
                if not self._records.hear(message):
                    self._complain(b"", f"{type(message).__name__} is not for the coordinator")
                if self._records.is_at_target and not self._losses.is_draining:
                    self._losses.is_draining = True
                    self._members.send(0, Drain(self._roster.run_id))

    def _send_shard(self, stage: int) -> None:
        try:
            for part in parts_of(self._records.shard(stage), self._roster.run_id, stage):
                self._members.send(stage, part)
        except OSError as error:  # it will not be ready in time, and the run then ends
            self._display.note(f"stage {stage}: its shard cannot be read: {error.strerror}")

    def _seat(self, stage: int) -> None:
        if stage not in self._replacements.open:
            self._roster.ready.add(stage)
            return
        vacancy = self._replacing.seat(stage)
        if stage == 0 and vacancy is not None:
            self._records.source.took_over(vacancy.died_at, time.monotonic())
