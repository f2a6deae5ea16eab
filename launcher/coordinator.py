"""Runs the line of workers: admits them, starts them, follows them, ends them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from dni_async.compilation import COMPILE_S
from dni_async.errors import HandshakeError, LinkError, WireError, WorkerDied
from dni_async.gate import Guard
from dni_async.keys import read_keys
from dni_async.messages import (
    BoundaryEpoch,
    Bye,
    CoordinatorMessage,
    Drain,
    EpochLoss,
    EpochTrained,
    Evaluated,
    Failed,
    Hello,
    InboxMoved,
    Message,
    Progress,
    Ready,
    Saved,
    Start,
    Stop,
    Welcome,
)
from dni_async.transport import ControlServer, Poller, open_sockets
from launcher.account import Account
from launcher.causes import Cause, cause_of_exit, cause_of_failure, may_replace, why_final
from launcher.checkpoints import OpenCheckpoints
from launcher.complaints import Complaints
from launcher.display import Display
from launcher.epochs import EpochMessage
from launcher.plan import Plan
from launcher.processes import Exited, Started, WorkerProcesses, worker_processes
from launcher.replacements import Replacements
from launcher.replacing import Replacing
from launcher.results import RunResult
from launcher.resume import identity
from launcher.roster import Roster
from launcher.run_folder import RunFolder
from launcher.source_clock import SourceClock
from launcher.stuck import StuckWorkers
from launcher.welcome import make_welcome

__all__ = ["train_decoupled"]

LAST_WORDS_S = 0.5  # a worker's Failed may arrive after its end was noticed
STOP_S = 0.5
NAG_S = 10.0


def train_decoupled(
    plan: Plan,
    folder: RunFolder,
    display: Display,
    result: RunResult,
    shards: Sequence[Path] = (),
) -> None:
    """Train plan's network with one worker process per stage; the weights lie in folder.

    shards: the files that stages start from, by stage; none: they start from the seed.
    Fills in result as it goes, so that an interrupted run shows what it did. Raises HandshakeError
    when somebody does not join in time, WorkerDied with the first cause when a worker fails.
    Whatever happens, no worker outlives the call.
    """
    began = time.perf_counter()
    log = folder.logs / "fork-server.log"
    config = plan.config
    run_id = secrets.token_hex(8)
    ring = None if config.keys is None else read_keys(Path(config.keys), "coordinator")
    guard = Guard(run_id, ring, is_open=config.insecure_without_keys)
    with (
        open_sockets(guard, display.note) as sockets,
        worker_processes(plan.threads_per_worker, log, folder.held) as processes,
    ):
        address = f"tcp://{config.interface}:0"
        if config.transport != "tcp":
            address = f"ipc://{processes.folder}/control"
        control = sockets.control_server(address)
        roster = Roster(plan.num_stages, run_id)
        coordinator = _Coordinator(
            plan, folder, display, control, processes, roster, result, began, shards
        )
        try:
            coordinator.run()
        finally:
            coordinator.stop_everybody()


class _Coordinator:
    """The state of one run as the launcher sees it."""

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        display: Display,
        control: ControlServer,
        processes: WorkerProcesses,
        roster: Roster,
        result: RunResult,
        began: float,
        shards: Sequence[Path],
    ) -> None:
        self._shards = shards
        self._checkpoints = OpenCheckpoints(
            folder.checkpoints,
            run=identity(plan),
            ranges=plan.layer_ranges,
            keep=plan.config.keep_checkpoints,
            sync=folder.sync_metrics,
        )
        self._plan = plan
        self._folder = folder
        self._display = display
        self._control = control
        self._processes = processes
        self._roster = roster
        self._peers: dict[int, bytes] = {}
        self._cause: Cause | None = None
        self._unexplained: dict[int, Cause] = {}  # by stage: ends with an error code
        self._complain = Complaints(display.note)
        self._has_started = False
        self._is_draining = False
        self._replacements = Replacements(plan.config.max_restarts)
        self._account = Account(
            plan,
            folder,
            display,
            result,
            self._replacements,
            began=began,
            is_resumed=bool(shards),
        )
        self._replacing = Replacing(
            self._roster,
            self._replacements,
            send=self._send,
            start=self._start,
            welcome=self._welcome,
            timeout_s=self._timeout_s,
        )
        self._source = SourceClock()
        self._stuck = StuckWorkers(plan, folder, roster, processes.alive, display.note)

    def run(self) -> None:
        """From the first process to the last Bye."""
        for stage in range(self._plan.num_stages):
            self._start(stage, 0)
        poller = Poller()
        poller.watch(self._control)
        poller.watch(self._processes.fileno())
        self._follow(poller, lambda: self._roster.all_ready, self._timeout_s)
        self._has_started = True
        self._tell_all(Start(self._roster.run_id))
        self._account.start(self._roster.pids)
        self._follow(poller, lambda: self._roster.all_left, None)

    @property
    def _timeout_s(self) -> float:
        """How long a worker may take from its start to Ready."""
        config = self._plan.config
        return config.start_timeout_s + (COMPILE_S if config.compile else 0.0)

    def stop_everybody(self) -> None:
        """Ask those still there to leave; what does not is killed when the processes close."""
        self._account.close(self._roster.pids)
        if not self._processes.alive:
            return
        self._tell_all(Stop(self._roster.run_id, "the launcher ends the run"))
        deadline = time.monotonic() + STOP_S
        poller = Poller()
        poller.watch(self._processes.fileno())
        try:
            while self._processes.alive and time.monotonic() < deadline:
                if poller.wait(deadline - time.monotonic()):
                    self._processes.hear()
        except WorkerDied:
            return  # the fork server is gone and its workers with it

    def _follow(self, poller: Poller, done: Callable[[], bool], timeout_s: float | None) -> None:
        """Hear everybody until done. Raises WorkerDied, HandshakeError."""
        began = time.monotonic()
        next_nag = began + NAG_S
        while not done():
            if self._processes.fileno() in poller.wait(0.1):
                for event in self._processes.hear():
                    self._hear_process(event)
            self._hear_workers()
            now = time.monotonic()
            self._explain(now)
            self._replacing.fill(now)
            if self._cause is not None and now >= self._cause.deadline:
                raise WorkerDied(self._cause.text, self._cause.code)
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

    def _hear_process(self, event: Started | Exited) -> None:
        if isinstance(event, Started):
            self._roster.pids[event.stage] = event.pid
            return
        stage = self._roster.stage_of(event.pid)
        if stage is None or (stage in self._roster.left and event.code == 0):
            return
        now = time.monotonic()
        cause = cause_of_exit(
            self._plan, stage, event.pid, event.code, self._folder.log(stage), now + LAST_WORDS_S
        )
        self._stuck.reword(cause, event.pid)
        if event.code == 0 and stage in self._replacements.open:
            self._replacing.begin_again(stage, now)
        elif event.code < 0:
            self._lose(cause, now)
        else:
            self._unexplained[stage] = cause

    def _explain(self, now: float) -> None:
        """A worker that ended with an error code, and has said nothing since, is replaced."""
        for stage, cause in list(self._unexplained.items()):
            if now >= cause.deadline or not self._is_replaceable(cause):
                del self._unexplained[stage]
                self._lose(cause, now)

    def _lose(self, cause: Cause, now: float) -> None:
        """Have the worker that died replaced; else that is the cause by which the run ends."""
        stage, _ = cause.exit
        if not self._is_replaceable(cause):
            if self._cause is None:
                cause.text += why_final(self._plan, self._replacements)
                self._cause = cause
            return
        self._replacing.vacate(stage, now, cause.text, cause.code)
        self._account.enter_death(stage, cause.text)
        count = f"{len(self._replacements.causes)} of {self._replacements.max_restarts}"
        self._display.note(f"{cause.text}; it is replaced ({count})")

    def _is_replaceable(self, cause: Cause) -> bool:
        """Whether another worker could take the place and learn what this one knew."""
        is_over = self._is_draining or self._account.num_epochs == self._plan.config.epochs
        may = self._has_started and not is_over and not self._roster.left
        has_failed = self._cause is not None or cause.exit[1] == 0
        return may and not has_failed and may_replace(self._plan, self._replacements)

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
            if isinstance(message, Hello):
                self._admit(peer, message)
            elif self._is_genuine(peer, message):
                self._hear(message)

    def _is_genuine(self, peer: bytes, message: Message) -> bool:
        """Whether message is of this run and of the stage that peer hosts."""
        stage = getattr(message, "stage", None)
        is_own = stage is None or self._peers.get(stage) == peer
        return is_own and getattr(message, "run_id", None) == self._roster.run_id

    def _admit(self, peer: bytes, hello: Hello) -> None:
        try:
            self._roster.admit(hello)
        except HandshakeError as error:
            self._complain(peer, f"a worker was refused: {error}")
            return
        self._peers[hello.stage] = peer
        if self._roster.all_admitted and not self._has_started:
            for stage in range(self._plan.num_stages):
                self._send(stage, self._welcome(stage, peer=self._roster.peer_of(stage)))

    def _welcome(self, stage: int, *, peer: str) -> Welcome:
        return make_welcome(
            self._plan,
            self._folder,
            run_id=self._roster.run_id,
            stage=stage,
            peer=peer,
            next_batch_id=self._source.next_batch_id if stage == 0 else 0,
            shard=self._shard(stage),
        )

    def _shard(self, stage: int) -> str:
        """The file a worker of stage starts from: of the newest whole checkpoint there is."""
        newest = self._checkpoints.newest
        if newest is not None:
            return str(newest.path(stage).resolve())
        return str(self._shards[stage]) if self._shards else ""

    def _hear(self, message: Message) -> None:
        match message:
            case Ready(stage=stage):
                self._seat(stage)
            case InboxMoved():
                self._replacing.hear_inbox(message)
            case Progress():
                self._follow_progress(message)
            case EpochTrained(epoch=epoch, seconds=seconds):
                whole_s = self._source.whole_s(epoch, seconds)
                self._enter_epoch(EpochTrained(message.run_id, epoch, whole_s))
            case EpochLoss() | BoundaryEpoch() | Evaluated():
                self._enter_epoch(message)
            case Saved():
                self._enter_saved(message)
            case Bye(stage=stage):
                self._roster.left.add(stage)
                if self._cause is not None and self._cause.exit == (stage, 0):
                    self._cause = None  # its end was noticed before its Bye was read
                self._unexplained.pop(stage, None)
            case Failed():
                self._failed(message)
            case _:
                self._complain(b"", f"{type(message).__name__} is not for the coordinator")

    def _seat(self, stage: int) -> None:
        if stage not in self._replacements.open:
            self._roster.ready.add(stage)
            return
        vacancy = self._replacing.seat(stage)
        if stage == 0 and vacancy is not None:
            self._source.took_over(vacancy.died_at, time.monotonic())

    def _follow_progress(self, message: Progress) -> None:
        self._account.enter_progress(message)
        self._stuck.hear(message.stage)
        if message.stage == 0:
            self._source.hear(message, time.monotonic())

    def _enter_saved(self, message: Saved) -> None:
        sentence = self._checkpoints.enter(message)
        if sentence is not None:
            self._display.note(sentence)

    def _enter_epoch(self, message: EpochMessage) -> None:
        """End the run, if the epoch that is whole now has reached the target."""
        result = self._account.enter_epoch(message)
        if result is None:
            return
        is_scored = result.num_test_labels == self._plan.num_test_labels
        if is_scored and self._plan.config.ends_at(result.test_accuracy):
            target = self._plan.config.target_accuracy
            self._display.note(f"the target of {target:.2%} is reached")
            self._is_draining = True
            self._send(0, Drain(self._roster.run_id))

    def _failed(self, message: Failed) -> None:
        """The first worker's last words are the run's; what others say follows from it."""
        if self._cause is None:
            self._cause = self._unexplained.pop(message.stage, None)
        if self._cause is not None and (
            self._cause.is_told or self._cause.exit[0] != message.stage
        ):
            return
        code = 1 if self._cause is None else self._cause.code
        self._cause = cause_of_failure(message, code, time.monotonic())

    def _start(self, stage: int, incarnation: int) -> None:
        self._processes.start(
            stage=stage,
            coordinator=self._control.endpoint,
            run_id=self._roster.run_id,
            log=self._folder.log(stage),
            incarnation=incarnation,
            keys=self._plan.config.keys,
            is_open=self._plan.config.insecure_without_keys,
        )

    def _send(self, stage: int, message: CoordinatorMessage) -> None:
        with suppress(LinkError):  # it is gone; its end was or will be noticed
            self._control.send(self._peers[stage], message)

    def _tell_all(self, message: CoordinatorMessage) -> None:
        for stage in self._peers:
            self._send(stage, message)
