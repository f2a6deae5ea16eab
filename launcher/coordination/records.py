"""What the workers tell of their work: entered, counted, and written where it belongs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from dni_async.launcher.coordination.ledger import Account
from dni_async.launcher.decisions.epochs import EpochMessage
from dni_async.launcher.decisions.source_clock import SourceClock
from dni_async.launcher.decisions.vacancies import Replacements
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.results import EpochResult
from dni_async.launcher.run_folder.checkpoints import OpenCheckpoints
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.received_files import ReceivedFiles
from dni_async.launcher.run_folder.resume import identity
from dni_async.wire.messages import (
    BoundaryEpoch,
    EpochLoss,
    EpochTrained,
    Evaluated,
    FilePart,
    Message,
    Progress,
    Saved,
)

__all__ = ["Records"]


class Records:
    """Of one decoupled run. shards: the files that stages start from, by stage; may be empty.

    is_at_target: an epoch has reached the accuracy at which the run is to end.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        display: Display,
        account: Account,
        replacements: Replacements,
        shards: Sequence[Path],
    ) -> None:
        self._plan = plan
        self._display = display
        self._replacements = replacements
        self._shards = shards
        self._checkpoints = OpenCheckpoints(
            folder.checkpoints,
            run=identity(plan),
            ranges=plan.layer_ranges,
            keep=plan.config.keep_checkpoints,
            sync=folder.sync_metrics,
        )
        self.account = account
        self.carried = ReceivedFiles(folder)
        self.source = SourceClock(plan.config.tested_at)
        self.is_at_target = False

    def shard(self, stage: int) -> Path | None:
        """The file a worker of stage starts from: of the newest whole checkpoint there is."""
        newest = self._checkpoints.newest
        if newest is not None:
            return newest.path(stage).resolve()
        return self._shards[stage] if self._shards else None

    def hear(self, message: Message) -> bool:
        """Enter what a worker told; whether it was anything of the kind."""
        match message:
            case Progress():
                self.account.enter_progress(message)
                if message.stage == 0:
                    self.source.hear(message, time.monotonic())
            case EpochTrained(epoch=epoch, seconds=seconds):
                whole_s = self.source.whole_s(epoch, seconds)
                self._enter_epoch(EpochTrained(message.run_id, epoch, whole_s))
            case EpochLoss() | BoundaryEpoch() | Evaluated():
                self._enter_epoch(message)
            case Saved():
                self._say(self._checkpoints.enter(self.carried.check(message)))
            case FilePart(stage=stage):
                self._say(self.carried.enter(message, self._replacements.incarnation(stage)))
            case _:
                return False
        return True

    def _say(self, sentence: str | None) -> None:
        if sentence is not None:
            self._display.note(sentence)

    def _enter_epoch(self, message: EpochMessage) -> None:
        """Note whether an epoch that is whole now has reached the target."""
        for result in self.account.enter_epoch(message):
            self._compare(result)

    def _compare(self, result: EpochResult) -> None:
        is_scored = result.num_test_labels == self._plan.num_test_labels
        if is_scored and self._plan.config.ends_at(result.test_accuracy):
            target = self._plan.config.target_accuracy
            if not self.is_at_target:
                self._say(f"the target of {target:.2%} is reached")
            self.is_at_target = True
