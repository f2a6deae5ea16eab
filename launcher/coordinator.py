"""Runs the line of workers: admits them, starts them, follows them, ends them."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from dni_async.compilation import COMPILE_S
from dni_async.errors import HandshakeError, LinkError, WireError, WorkerDied
from dni_async.messages import (
    BoundaryEpoch,
    Bye,
    Drain,
    EpochLoss,
    EpochTrained,
    Evaluated,
    Failed,
    Hello,
    Message,
    Progress,
    Ready,
    Saved,
    Start,
    Stop,
    Welcome,
)
from dni_async.transport import ControlServer, Poller, open_sockets
from launcher.checkpoints import OpenCheckpoints
from launcher.display import Display
from launcher.epochs import EpochMessage, OpenEpochs
from launcher.plan import Plan
from launcher.processes import Exited, Started, WorkerProcesses, worker_processes
from launcher.results import RunResult, WorkerResult
from launcher.resume import identity
from launcher.roster import Roster
from launcher.run_folder import RunFolder

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
    with open_sockets() as sockets, worker_processes(plan.threads_per_worker, log) as processes:
        address = "tcp://127.0.0.1:0"
        if plan.config.transport != "tcp":
            address = f"ipc://{processes.folder}/control"
        control = sockets.control_server(address)
        coordinator = _Coordinator(plan, folder, display, control, processes, result, began, shards)
        try:
            coordinator.run()
        finally:
            coordinator.stop_everybody()


@dataclass(slots=True)
class _Cause:
    """The first failure. exit: stage and its process's code. text: the user's last lines.

    is_told: in the worker's own words.
    """

    exit: tuple[int, int]
    code: int
    text: str
    deadline: float
    is_told: bool = False


class _Coordinator:
    """The state of one run as the launcher sees it."""

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        display: Display,
        control: ControlServer,
        processes: WorkerProcesses,
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
        self._began = began
        self._plan = plan
        self._folder = folder
        self._display = display
        self._control = control
        self._processes = processes
        self._roster = Roster(plan.num_stages, secrets.token_hex(8))
        self._peers: dict[int, bytes] = {}
        self._progress: dict[int, Progress] = {}
        self._epochs = OpenEpochs(plan.num_stages)
        self._cause: _Cause | None = None
        self._result = result

    def run(self) -> None:
        """From the first process to the last Bye."""
        for stage in range(self._plan.num_stages):
            self._processes.start(
                stage=stage,
                coordinator=self._control.endpoint,
                run_id=self._roster.run_id,
                log=self._folder.log(stage),
            )
        poller = Poller()
        poller.watch(self._control)
        poller.watch(self._processes.fileno())
        config = self._plan.config
        timeout_s = config.start_timeout_s + (COMPILE_S if config.compile else 0.0)
        self._follow(poller, lambda: self._roster.all_ready, timeout_s)
        self._result.startup_seconds = time.perf_counter() - self._began
        self._tell_all(Start(self._roster.run_id))
        self._display.started(self._result.startup_seconds, self._roster.pids)
        self._follow(poller, lambda: self._roster.all_left, None)

    def stop_everybody(self) -> None:
        """Ask those still there to leave; what does not is killed when the processes close."""
        self._result.workers = [self._worker(stage) for stage in sorted(self._progress)]
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
            if self._cause is not None and now >= self._cause.deadline:
                raise WorkerDied(self._cause.text, self._cause.code)
            if timeout_s is None:
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
        if self._cause is None:
            code = event.code if event.code >= 0 else 128 - event.code
            how = f"exited with code {event.code}"
            if event.code < 0:
                how = f"was killed by {signal.Signals(-event.code).name}"
            text = (
                f"stage {stage} ({self._plan.devices[stage]}, pid {event.pid}) {how}; "
                f"its log is {self._folder.log(stage)}"
            )
            self._cause = _Cause(
                (stage, event.code), code or 1, text, time.monotonic() + LAST_WORDS_S
            )

    def _hear_workers(self) -> None:
        while True:
            try:
                received = self._control.receive()
            except WireError as error:
                self._display.note(f"a message was refused: {error}")
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
            self._display.note(f"a worker was refused: {error}")
            return
        self._peers[hello.stage] = peer
        if self._roster.all_admitted:
            for stage in range(self._plan.num_stages):
                with suppress(LinkError):  # it is gone; its end was or will be noticed
                    self._control.send(self._peers[stage], self._welcome(stage))

    def _welcome(self, stage: int) -> Welcome:
        plan = self._plan
        first, end = plan.layer_ranges[stage]
        profile = self._folder.profile
        return Welcome(
            run_id=self._roster.run_id,
            num_stages=plan.num_stages,
            first_layer=first,
            end_layer=end,
            device=plan.devices[stage],
            num_threads=plan.threads_per_worker,
            peer=self._roster.peer_of(stage),
            weights_path=str(self._folder.stage_weights(stage).resolve()),
            input_shape=plan.input_shape,
            holds_ids=plan.holds_ids,
            num_classes=plan.num_classes,
            num_updates=plan.num_updates,
            config=plan.config.to_dict(),
            profile_folder=str(profile.resolve()) if profile.is_dir() else "",
            checkpoint_folder=str(self._folder.checkpoints.resolve()),
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
                self._roster.ready.add(stage)
            case Progress():
                self._progress[message.stage] = message
                self._display.progress(message)
                if message.updates and self._result.first_update_seconds is None:
                    self._note_first_updates()
            case Saved():
                self._enter_saved(message)
            case EpochTrained() | EpochLoss() | BoundaryEpoch() | Evaluated():
                self._enter_epoch(message)
            case Bye(stage=stage):
                self._roster.left.add(stage)
                if self._cause is not None and self._cause.exit == (stage, 0):
                    self._cause = None  # its end was noticed before its Bye was read
            case Failed():
                self._failed(message)
            case _:
                self._display.note(f"{type(message).__name__} is not for the coordinator")

    def _enter_saved(self, message: Saved) -> None:
        sentence = self._checkpoints.enter(message)
        if sentence is not None:
            self._display.note(sentence)

    def _note_first_updates(self) -> None:
        """The time from the start to the last stage's first update; stages tell of theirs.

        Of a resumed run it is not known, as its stages have made updates before.
        """
        if (
            not self._shards
            and all(self._progress[stage].updates for stage in self._progress)
            and (len(self._progress) == self._plan.num_stages)
        ):
            self._result.first_update_seconds = time.perf_counter() - self._began

    def _enter_epoch(self, message: EpochMessage) -> None:
        """Enter the epoch into the result once all have reported on it."""
        whole = self._epochs.enter(message)
        if whole is None:
            return
        result = whole.result
        self._result.epochs.append(result)
        self._result.boundaries += whole.boundaries
        self._display.epoch(self._result, result)
        self._folder.record({"run": self._result.name, **asdict(result)})
        for boundary in whole.boundaries:
            self._folder.record({"run": self._result.name, "boundary": asdict(boundary)})
        for progress in self._progress.values():
            self._folder.record({"run": self._result.name, "worker": asdict(progress)})
        if self._plan.config.ends_at(result.test_accuracy):
            target = self._plan.config.target_accuracy
            self._display.note(f"the target of {target:.2%} is reached")
            with suppress(LinkError):  # it is gone; its end was or will be noticed
                self._control.send(self._peers[0], Drain(self._roster.run_id))

    def _failed(self, message: Failed) -> None:
        """The first worker's last words are the run's; what others say follows from it."""
        if self._cause is not None and (
            self._cause.is_told or self._cause.exit[0] != message.stage
        ):
            return
        text = (
            f"stage {message.stage} ({message.device}) failed:\n{message.traceback.rstrip()}\n"
            f"stage {message.stage} ({message.device}): {message.summary}"
        )
        code = 1
        if self._cause is not None:
            code = self._cause.code
        self._cause = _Cause((message.stage, code), code, text, time.monotonic(), is_told=True)

    def _worker(self, stage: int) -> WorkerResult:
        return WorkerResult.from_progress(
            self._progress[stage],
            pid=self._roster.pids[stage],
            device=self._plan.devices[stage],
            layers=self._plan.layer_ranges[stage],
        )

    def _tell_all(self, message: Message) -> None:
        for peer in self._peers.values():
            with suppress(LinkError):  # it is gone; its end was or will be noticed
                self._control.send(peer, message)
