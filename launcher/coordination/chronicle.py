"""What a run leaves behind as it goes: result, metrics, checkpoints, files, and the display."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dni_async.launcher.decisions.actions import (
    EnterDeath,
    EnterEpoch,
    EnterFirstUpdates,
    EnterProgress,
    EnterRecovery,
    EnterStart,
    EnterWorker,
)
from dni_async.launcher.decisions.epochs import WholeEpoch
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult
from dni_async.launcher.report.worker_results import LinkResult, WorkerResult
from dni_async.launcher.run_folder.checkpoints import OpenCheckpoints
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.received_files import ReceivedFiles
from dni_async.launcher.run_folder.resume import identity
from dni_async.wire.messages import FilePart, Progress, Saved

__all__ = ["Chronicle", "Entry"]

Entry = (
    EnterStart
    | EnterProgress
    | EnterFirstUpdates
    | EnterEpoch
    | EnterDeath
    | EnterRecovery
    | EnterWorker
)


class Chronicle:
    """Of one decoupled run, in result and folder and for who watches display.

    shards: the files that stages start from, by stage; may be empty.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        display: Display,
        result: RunResult,
        shards: Sequence[Path],
    ) -> None:
        self._began = time.perf_counter()
        self._plan = plan
        self._folder = folder
        self._display = display
        self._result = result
        self._shards = shards
        self._progress: dict[int, Progress] = {}
        self._received = ReceivedFiles(folder)
        self._checkpoints = OpenCheckpoints(
            folder.checkpoints,
            run=identity(plan),
            ranges=plan.layer_ranges,
            keep=plan.config.keep_checkpoints,
            sync=folder.sync_metrics,
        )

    def shard(self, stage: int) -> Path | None:
        """The file a worker of stage starts from: of the newest whole checkpoint there is."""
        newest = self._checkpoints.newest
        if newest is not None:
            return newest.path(stage).resolve()
        return self._shards[stage] if self._shards else None

    def note(self, text: str | None) -> None:
        """A sentence for the user, if there is any."""
        if text is not None:
            self._display.note(text)

    def keep_part(self, part: FilePart, incarnation: int) -> None:
        """Write the next bytes of a file that a worker sends."""
        self.note(self._received.enter(part, incarnation))

    def keep_saved(self, saved: Saved) -> None:
        """Make a checkpoint whole with the last part of it."""
        self.note(self._checkpoints.enter(self._received.check(saved)))

    def enter(self, entry: Entry) -> None:
        """Have the entry wherever it shows."""
        result = self._result
        match entry:
            case EnterProgress(progress=progress):
                self._progress[progress.stage] = progress
                self._display.progress(progress)
            case EnterEpoch(epoch=epoch):
                self._enter_epoch(epoch)
            case EnterStart(pids=pids):
                result.startup_seconds = time.perf_counter() - self._began
                self._display.started(result.startup_seconds, dict(enumerate(pids)))
            case EnterFirstUpdates():
                result.first_update_seconds = time.perf_counter() - self._began
            case EnterDeath(stage=stage, cause=cause, at_s=at_s):
                result.restarts.append(RestartResult(stage, cause, at_s))
            case EnterRecovery(stage=stage, at_s=at_s):
                for restart in result.restarts:
                    if restart.stage == stage and restart.seconds is None:
                        restart.seconds = at_s - restart.at_seconds
            case EnterWorker():
                self._enter_worker(entry)

    def _enter_epoch(self, whole: WholeEpoch) -> None:
        told = asdict(whole)
        del told["boundaries"]
        epoch, name = EpochResult(**told), self._result.name
        self._result.epochs.append(epoch)
        self._result.boundaries += whole.boundaries
        self._folder.add_metrics({"run": name, **asdict(epoch)})
        for boundary in whole.boundaries:
            self._folder.add_metrics({"run": name, "boundary": asdict(boundary)})
        for progress in self._progress.values():
            self._folder.add_metrics({"run": name, "worker": progress.to_dict()})
        self._display.epoch(self._result, epoch)  # what the user has seen is written down

    def _enter_worker(self, entry: EnterWorker) -> None:
        """What a stage's worker did, as it last told it."""
        last = self._progress[entry.stage]
        layers = self._plan.layer_ranges[entry.stage]
        worker = WorkerResult.from_progress(last, pid=entry.pid, device=entry.device, layers=layers)
        self._result.workers.append(worker)
        link = LinkResult.from_progress(last, self._plan.config)
        if link is not None:
            self._result.links.append(link)
