"""The curves of a run as event files, which TensorBoard shows."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from dni_async.launcher.report.results import EpochResult, RunResult
from dni_async.launcher.report.watcher import Watcher

__all__ = ["EventFiles"]


class EventFiles(Watcher):
    """A folder of event files for each network that is trained, so that curves lie over each other.

    The step is the epoch. The time of an epoch is that of its training alone, added up since the
    run began, so that curves over time compare seconds of training and no evaluation. Raises
    OSError when a file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._began = time.time()
        self._files: dict[str, RecordWriter] = {}

    def begin(self, run: RunResult) -> None:
        """A network is trained; of a resumed one the epochs before are written again."""
        folder = self._folder / run.name
        folder.mkdir(parents=True)
        name = f"events.out.tfevents.{int(self._began)}"  # that there are events is in the name
        self._files[run.name] = RecordWriter((folder / name).open("wb"))
        self._write(run, Event(wall_time=self._began, file_version="brain.Event:2"))
        for epoch in run.epochs:
            self.epoch(run, epoch)

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """Its losses, metrics, samples per second, and what each boundary told."""
        values = {f"{name}/test": value for name, value in epoch.test_metrics.items()}
        for name, loss in (("loss/train", epoch.train_loss), ("loss/test", epoch.test_loss)):
            if loss is not None:
                values[name] = loss
        if epoch.seconds > 0:
            values["samples_per_second"] = epoch.num_samples / epoch.seconds
        for told in run.boundaries:
            if told.epoch == epoch.epoch:
                values[f"cosine/boundary-{told.stage}"] = told.cosine
                values[f"relative_error/boundary-{told.stage}"] = told.relative_error
                values[f"norm_ratio/boundary-{told.stage}"] = told.norm_ratio
        seconds = sum(each.seconds for each in run.epochs if each.epoch <= epoch.epoch)
        summary = Summary(
            value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        )
        self._write(run, Event(wall_time=self._began + seconds, step=epoch.epoch, summary=summary))

    def close(self) -> None:
        """Close the files, each of which is whole up to its last epoch."""
        for file in self._files.values():
            with suppress(OSError):  # it was told when it was written
                file.close()

    def _write(self, run: RunResult, event: Event) -> None:
        file = self._files[run.name]
        file.write(event.SerializeToString())
        file.flush()  # it is looked at while the run goes on
