"""What the workers have told of a run, entered where result, metrics and display show it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict

from dni_async.launcher.decisions.epochs import EpochMessage, OpenEpochs, WholeEpoch
from dni_async.launcher.decisions.vacancies import Replacements
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult
from dni_async.launcher.report.worker_results import LinkResult, WorkerResult
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.wire.messages import Progress

__all__ = ["Account"]


class Account:
    """The account of one decoupled run.

    replacements: told when a stage trains again. devices: what each stage computes on. began: when
    its first process was asked for, by time.perf_counter. is_resumed: its stages have made updates
    before.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        display: Display,
        result: RunResult,
        replacements: Replacements,
        devices: Callable[[int], str],
        *,
        began: float,
        is_resumed: bool,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._display = display
        self._result = result
        self._replacements = replacements
        self._devices = devices
        self._began = began
        self._is_resumed = is_resumed
        self._epochs = OpenEpochs(plan.num_stages)
        self._progress: dict[int, Progress] = {}
        self._updates_at_start: dict[int, int] = {}  # of replacements, by stage
        self._started_at = 0.0

    @property
    def last_epoch(self) -> int:
        """The last one that has been entered; 0 before the first."""
        return self._result.epochs[-1].epoch if self._result.epochs else 0

    def start(self, pids: Mapping[int, int]) -> None:
        """All workers have begun."""
        self._started_at = time.monotonic()
        self._result.startup_seconds = time.perf_counter() - self._began
        self._display.started(self._result.startup_seconds, pids)

    def enter_death(self, stage: int, text: str) -> None:
        """A worker has died, and another takes its place."""
        at_seconds = time.monotonic() - self._started_at
        self._result.restarts.append(RestartResult(stage, text, at_seconds))
        self._updates_at_start.pop(stage, None)

    def enter_progress(self, message: Progress) -> None:
        """A worker's counters."""
        self._progress[message.stage] = message
        self._display.progress(message)
        if message.stage in self._replacements.untried:
            self._note_recovery(message)
        if message.counters.work.updates and self._result.first_update_seconds is None:
            self._note_first_updates()

    def enter_epoch(self, message: EpochMessage) -> list[EpochResult]:
        """Part of what is told of an epoch; the epochs that are whole with it."""
        whole = self._epochs.enter(message)
        for each in whole:
            self._write(each)
        return [each.result for each in whole]

    def _write(self, whole: WholeEpoch) -> None:
        result, name = whole.result, self._result.name
        self._result.epochs.append(result)
        self._result.boundaries += whole.boundaries
        self._folder.add_metrics({"run": name, **asdict(result)})
        for boundary in whole.boundaries:
            self._folder.add_metrics({"run": name, "boundary": asdict(boundary)})
        for progress in self._progress.values():
            self._folder.add_metrics({"run": name, "worker": progress.to_dict()})
        self._display.epoch(self._result, result)  # what the user has seen is written down

    def close(self, pids: Mapping[int, int]) -> None:
        """What each worker did, as it last told it, and the epochs that nobody completes."""
        for whole in self._epochs.rest():
            self._write(whole)
        self._result.workers = [
            WorkerResult.from_progress(
                self._progress[stage],
                pid=pids[stage],
                device=self._devices(stage),
                layers=self._plan.layer_ranges[stage],
            )
            for stage in sorted(self._progress)
        ]
        links = (
            LinkResult.from_progress(self._progress[stage], self._plan.config)
            for stage in sorted(self._progress)
        )
        self._result.links = [link for link in links if link is not None]

    def _note_recovery(self, message: Progress) -> None:
        """A replacement's first update ends the time that its stage stood still.

        Before it trains it tells how many updates it starts from.
        """
        stage, updates = message.stage, message.counters.work.updates
        if updates <= self._updates_at_start.setdefault(stage, updates):
            return
        now = time.monotonic()
        vacancy = self._replacements.untried.pop(stage)
        for restart in self._result.restarts:
            if restart.stage == stage and restart.seconds is None:
                restart.seconds = now - self._started_at - restart.at_seconds
        self._display.note(f"stage {stage} trains again after {now - vacancy.died_at:.2f} s")

    def _note_first_updates(self) -> None:
        """The time from the start to the last stage's first update; stages tell of theirs.

        Of a resumed run it is not known.
        """
        has_begun = all(progress.counters.work.updates for progress in self._progress.values())
        if not self._is_resumed and has_begun and len(self._progress) == self._plan.num_stages:
            self._result.first_update_seconds = time.perf_counter() - self._began
