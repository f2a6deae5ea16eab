"""The curves of a run as event files, which TensorBoard shows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from dni_async.launcher.monitoring.tags import of_epoch, of_point, updates_at
from dni_async.launcher.report.curves import CurvePoint
from dni_async.launcher.report.results import EpochResult, RunResult
from dni_async.launcher.report.watcher import Watcher

if TYPE_CHECKING:
    from dni_async.launcher.plan.plan import Plan

__all__ = ["EventFiles"]


class EventFiles(Watcher):
    """A folder of event files for each network that is trained, so that curves lie over each other.

    The step is the update, of an epoch's figures the one that it ends with. The time is that of
    training alone, added up since the run began, so that curves over time compare seconds of
    training and no evaluation. Raises OSError when a file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._began = time.time()
        self._files: dict[str, RecordWriter] = {}
        self._per_epoch = (0, 1)  # training batches, and how many of them make an update

    def lay_out(self, plan: Plan) -> None:
        """What is to be trained."""
        self._per_epoch = (plan.num_train_batches, plan.config.accumulate)

    def begin(self, run: RunResult) -> None:
        """A network is trained; of a resumed one all before is written again."""
        folder = self._folder / run.name
        folder.mkdir(parents=True)
        name = f"events.out.tfevents.{int(self._began)}"  # that there are events is in the name
        self._files[run.name] = RecordWriter((folder / name).open("wb"))
        self._write(run, Event(wall_time=self._began, file_version="brain.Event:2"))
        for epoch in run.epochs:
            self.epoch(run, epoch)
        for point in run.told.points:
            self.point(run, point)

    def point(self, run: RunResult, point: CurvePoint) -> None:
        """What a stage did in the updates since its point before."""
        self._add(run, point.updates, point.seconds, of_point(run, point))

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """Its losses, metrics, samples per second, and what each boundary told."""
        seconds = sum(each.seconds for each in run.epochs if each.epoch <= epoch.epoch)
        updates = updates_at(epoch.epoch, *self._per_epoch)
        self._add(run, updates, seconds, of_epoch(run, epoch))

    def close(self) -> None:
        """Close the files, each of which is whole up to its last epoch."""
        for file in self._files.values():
            with suppress(OSError):  # it was told when it was written
                file.close()

    def _add(
        self, run: RunResult, updates: int, seconds: float, values: Mapping[str, float]
    ) -> None:
        summary = Summary(
            value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        )
        self._write(run, Event(wall_time=self._began + seconds, step=updates, summary=summary))

    def _write(self, run: RunResult, event: Event) -> None:
        file = self._files[run.name]
        file.write(event.SerializeToString())
        file.flush()  # it is looked at while the run goes on
