"""A run's figures among Ray's metrics, set from what the workers tell the coordinator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dni_async.messages import Progress
from launcher.display import Display
from launcher.results import EpochResult, RunResult

__all__ = ["MeteredDisplay"]

OF_STAGES = {
    "updates": "Updates that the stage has made.",
    "busy_s": "Seconds that its worker has computed.",
    "waiting_s": "Seconds that its worker has waited.",
    "sending_s": "Seconds that its worker has spent on sending.",
    "max_staleness": "The largest staleness of a gradient so far.",
    "rss_bytes": "Memory of its worker.",
    "frame_bytes": "Bytes that it has sent in frames.",
}
OF_EPOCHS = {
    "epoch": "The last epoch that has ended.",
    "train_loss": "Its mean training loss.",
    "test_accuracy": "Its test accuracy.",
}


class MeteredDisplay(Display):
    """Shows the same as display, and sets Ray's gauges. run: the name they carry as a tag."""

    def __init__(self, display: Display, run: str) -> None:
        from ray.util.metrics import Gauge

        super().__init__(display.console)
        self._display = display
        self._run = run
        self._gauges: dict[str, Any] = {
            name: Gauge(f"dni_{name}", description=text, tag_keys=("run", "stage"))
            for name, text in OF_STAGES.items()
        } | {
            name: Gauge(f"dni_{name}", description=text, tag_keys=("run",))
            for name, text in OF_EPOCHS.items()
        }

    def note(self, text: str) -> None:
        """As display does."""
        self._display.note(text)

    def started(self, startup_s: float, pids: Mapping[int, int]) -> None:
        """As display does."""
        self._display.started(startup_s, pids)

    def progress(self, progress: Progress) -> None:
        """A worker's counters, as display shows them and as gauges."""
        self._display.progress(progress)
        tags = {"run": self._run, "stage": str(progress.stage)}
        for name in OF_STAGES:
            self._gauges[name].set(float(getattr(progress, name)), tags)

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """An epoch, as display shows it and as gauges."""
        self._display.epoch(run, epoch)
        for name in OF_EPOCHS:
            self._gauges[name].set(float(getattr(epoch, name)), {"run": self._run})
