"""Performs what the run's machine decides: starts and kills, tells, shows and keeps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from dni_async.launcher.coordination.outside import Outside
from dni_async.launcher.coordination.shard_sender import ShardSender
from dni_async.launcher.coordination.stack import Stacks
from dni_async.launcher.coordination.welcoming import make_welcome
from dni_async.launcher.decisions.actions import (
    AskStack,
    EndActor,
    EndRun,
    EnterBrought,
    EnterDeath,
    EnterEpoch,
    EnterFirstUpdates,
    EnterMove,
    EnterMoved,
    EnterProgress,
    EnterRecovery,
    EnterStart,
    EnterStop,
    EnterWorker,
    KeepPart,
    KeepSaved,
    KillStuck,
    Note,
    RunAction,
    Send,
    SendShard,
    SendWelcome,
    StartActor,
    StartWorker,
)
from dni_async.launcher.decisions.epochs import WholeEpoch
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.monitoring.others import OthersWatch
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.curves import Curves
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult, StopResult
from dni_async.launcher.report.rows import stage_names
from dni_async.launcher.report.worker_results import LinkResult, WorkerResult
from dni_async.launcher.run_folder.best import BestCheckpoint
from dni_async.launcher.run_folder.errands import Errands
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.kept_files import KeptFiles
from dni_async.transport.keys import KeyRing
from dni_async.wire.messages import Progress

__all__ = ["Chronicle", "Performer"]


class Performer:
    """Of one run. ending: how the run ends, once it does. errands: what is done of files meanwhile.

    ring: the keys of workers that are started here.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        run_id: str,
        outside: Outside,
        chronicle: Chronicle,
        ring: KeyRing | None = None,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._run_id = run_id
        self._ring = ring
        self._outside = outside
        self._chronicle = chronicle
        self._stacks = Stacks(folder)
        self.shards = ShardSender(outside.control, run_id, chronicle.note)
        self.errands = chronicle.kept.errands
        self.ending: EndRun | None = None

    def take_stop(self) -> str | None:
        """Why whoever watches asks for the run's end, told once; None where nobody does."""
        return self._chronicle.take_stop()

    def perform(self, action: RunAction) -> None:
        """Do it. Raises WorkerDied where no process can be started any more."""
        match action:
            case Send(peer=peer, message=message):
                self._outside.send(peer, message)
            case SendWelcome():
                self._welcome(action)
            case SendShard(peer=peer, stage=stage):
                self.shards.send(peer.encode("latin-1"), stage, self._chronicle.shard(stage))
            case KeepPart(incarnation=incarnation):
                self._keep_part(incarnation)
            case KeepSaved(saved=saved):
                self._chronicle.kept.keep_saved(saved)
            case Note(text=text):
                self._chronicle.note(text)
            case EndRun():
                self.ending = action
            case StartWorker() | StartActor() | EndActor() | AskStack() | KillStuck():
                self._see_to(action)
            case _:
                self._chronicle.enter(action)

    def look(self, *, is_last: bool = False) -> None:
        """Tell of files that have been kept meanwhile; at the end wait for those under way."""
        self._chronicle.look(is_last=is_last)

    def decided(self) -> Iterator[tuple[int, bool]]:
        """The checkpoints that were made meanwhile, by batch id, and those that were given up."""
        return self._chronicle.kept.decided()

    def tell_refused(self, text: str) -> None:
        """What was refused in all, if there is more to say of it than was said."""
        self._chronicle.note(text or None)

    def show_awaited(self, has_joined: bool, stages: Sequence[int]) -> None:
        """Have the user see which stages keep the run from starting, if any do."""
        if not stages:
            return
        what = "starting the workers"
        if has_joined:
            what = (
                f"waiting for stages to be {'compiled' if self._plan.config.compile else 'built'}"
            )
        elif self._plan.config.has_remote:
            what = "waiting for workers to join"
        self._chronicle.wait(f"{what}: {stage_names(stages)}")

    def _see_to(self, action: StartWorker | StartActor | EndActor | AskStack | KillStuck) -> None:
        """What becomes of a process or an actor."""
        actors = self._outside.actors
        match action:
            case StartWorker():
                self._start(action)
            case AskStack(stage=stage, pid=pid):
                self._stacks.ask(stage, pid)
            case KillStuck(stage=stage, pid=pid, text=text):
                self._chronicle.note(f"{text}: {self._stacks.where(stage, pid)}")
                self._stacks.kill(pid)
            case StartActor(stage=stage) if actors is not None:
                actors.start(stage)
            case EndActor(stage=stage) if actors is not None:
                actors.end(stage)

    def _keep_part(self, incarnation: int) -> None:
        """Keep what was heard last; its sender hears what became of the file."""
        part, peer = self._outside.part, self._outside.part_from
        assert part is not None
        self._chronicle.kept.keep_part(
            part, incarnation, lambda heard: self._outside.send(peer, heard)
        )

    def _start(self, action: StartWorker) -> None:
        processes = self._outside.processes
        assert processes is not None
        processes.start(
            stage=action.stage,
            coordinator=self._outside.control.endpoint,
            run_id=self._run_id,
            log=self._folder.log(action.stage),
            incarnation=action.incarnation,
            ring=self._ring,
            interface=self._plan.own_address if self._plan.config.has_remote else "",
            ticket=self._outside.tickets.issue(action.stage, action.incarnation),
        )

    def _welcome(self, action: SendWelcome) -> None:
        shard = str(self._chronicle.shard(action.stage) or "")
        message = make_welcome(self._plan, self._folder, self._run_id, action, shard)
        self._outside.send(action.peer, message)


_Entry = (
    EnterStart
    | EnterProgress
    | EnterFirstUpdates
    | EnterEpoch
    | EnterDeath
    | EnterRecovery
    | EnterMove
    | EnterMoved
    | EnterBrought
    | EnterStop
    | EnterWorker
)


class Chronicle:
    """What one decoupled run leaves as it goes: in result and folder, and for who watches display.

    shards: the files that stages start from, by stage; may be empty. kept: what workers leave.
    errands: does what takes a disk long, where that is not a thread.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        display: Display,
        result: RunResult,
        shards: Sequence[Path],
        errands: Errands | None = None,
    ) -> None:
        self._began = time.perf_counter()
        self._plan = plan
        self._folder = folder
        self._display = display
        self._result = result
        self._shards = shards
        self._others = OthersWatch(result)
        self._progress: dict[int, Progress] = {}
        self._curves = Curves(result.told.points)
        best = (
            BestCheckpoint(folder.checkpoints, result.goal, result.whole_figure)
            if plan.config.keep_best
            else None
        )
        self.kept = KeptFiles(plan, folder, display.note, best, errands)
        self.look()  # at the best of before, in a resumed run

    def shard(self, stage: int) -> Path | None:
        """The file a worker of stage starts from: of the newest whole checkpoint there is."""
        first = self._shards[stage] if self._shards else None
        return self.kept.lend(stage, self._result.layers[stage], first)

    def note(self, text: str | None) -> None:
        """A sentence for the user, if there is any."""
        if text is not None:
            self._display.note(text)

    def take_stop(self) -> str | None:
        """See RunResult."""
        return self._result.take_stop()

    def wait(self, text: str) -> None:
        """The user sees what is waited for; nothing, where that is empty."""
        self._display.waiting(text)

    def look(self, *, is_last: bool = False) -> None:
        """Tell of files that have been kept meanwhile; at the end wait for those under way."""
        self.kept.look(is_last=is_last)
        told = self.kept.told_best()
        if told is not None:
            self._result.best_checkpoint = told

    def enter(self, entry: _Entry) -> None:
        """Have the entry wherever it shows."""
        result = self._result
        match entry:
            case EnterProgress(progress=progress):
                self._enter_progress(progress)
            case EnterEpoch(epoch=epoch):
                self._enter_epoch(epoch)
            case EnterStart(pids=pids):
                self._enter_start(pids)
            case EnterFirstUpdates():
                result.first_update_seconds = time.perf_counter() - self._began
            case EnterDeath(stage=stage, cause=cause, at_s=at_s):
                restart = RestartResult(stage, cause, at_s)
                result.restarts.append(restart)
                self._display.died(restart)
            case EnterRecovery(stage=stage, at_s=at_s):
                self._enter_recovery(stage, at_s)
            case EnterMove() | EnterMoved() | EnterBrought():
                _enter_move(result, entry)
            case EnterStop(reason=reason):
                result.stopped = StopResult(reason)
            case EnterWorker():
                self._enter_worker(entry)

    def _enter_start(self, pids: Sequence[int]) -> None:
        self._result.startup_seconds = time.perf_counter() - self._began
        self._display.waiting("")
        self._display.started(self._result.startup_seconds, dict(enumerate(pids)))
        if not self._plan.config.has_remote:
            self._others.begin()

    def _enter_progress(self, progress: Progress) -> None:
        result = self._result
        self._progress[progress.stage] = progress
        self.kept.has_started(progress.stage)
        self._display.progress(progress)
        for point in self._curves.enter(progress.stage, progress.points):
            self._folder.add_metrics({"run": result.name, "point": point.to_dict()})
            self._display.point(result, point)

    def _enter_epoch(self, whole: WholeEpoch) -> None:
        told = asdict(whole)
        del told["boundaries"]
        epoch, name = EpochResult(**told), self._result.name
        self._result.epochs.append(epoch)
        self._others.look()
        self._result.boundaries += whole.boundaries
        self._folder.add_metrics({"run": name, **asdict(epoch)})
        for boundary in whole.boundaries:
            self._folder.add_metrics({"run": name, "boundary": asdict(boundary)})
        for progress in self._progress.values():
            self._folder.add_metrics({"run": name, "worker": progress.to_dict()})
        self._display.epoch(self._result, epoch)  # what the user has seen is written down

    def _enter_recovery(self, stage: int, at_s: float) -> None:
        for restart in self._result.restarts:
            if restart.stage == stage and restart.seconds is None:
                restart.seconds = at_s - restart.at_seconds
                self._display.recovered(restart)

    def _enter_worker(self, entry: EnterWorker) -> None:
        """What a stage's worker did, as it last told it."""
        self._others.look(is_last=True)
        last = self._progress[entry.stage]
        layers = self._result.layers[entry.stage]
        worker = WorkerResult.from_progress(last, pid=entry.pid, device=entry.device, layers=layers)
        self._result.workers.append(worker)
        link = LinkResult.from_progress(last, self._plan.config)
        if link is not None:
            self._result.links.append(link)


def _enter_move(result: RunResult, entry: EnterMove | EnterMoved | EnterBrought) -> None:
    """Layers have changed stages; or the line goes on with that; or what it brought is known."""
    if isinstance(entry, EnterMove):
        result.move(entry.layers, entry.at_s, entry.before_s, entry.foretold_s)
    elif isinstance(entry, EnterMoved):
        result.moves[-1].stood_still_seconds = entry.stood_still_s
    else:
        result.moves[-1].brought_seconds = entry.seconds
