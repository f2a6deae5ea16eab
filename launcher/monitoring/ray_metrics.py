"""A run's figures among Ray's metrics, set from what the workers tell the coordinator."""

from __future__ import annotations

from typing import Any

from dni_async.launcher.report.results import EpochResult, RunResult
from dni_async.wire.messages import Progress

__all__ = ["RayGauges"]

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


class RayGauges:
    """A watcher that sets Ray's gauges. name: of the run, which they carry as a tag."""

    def __init__(self, name: str) -> None:
        from ray.util.metrics import Gauge

        self._name = name
        self._gauges: dict[str, Any] = {
            name: Gauge(f"dni_{name}", description=text, tag_keys=("run", "stage"))
            for name, text in OF_STAGES.items()
        } | {
            name: Gauge(f"dni_{name}", description=text, tag_keys=("run",))
            for name, text in OF_EPOCHS.items()
        }

    def begin(self, run: RunResult) -> None:
        """Nothing to set yet."""

    def progress(self, progress: Progress) -> None:
        """A worker's counters."""
        tags = {"run": self._name, "stage": str(progress.stage)}
        for name in OF_STAGES:
            self._gauges[name].set(float(getattr(progress, name)), tags)

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """An epoch of the workers; the baselines are trained here, not on the cluster."""
        for name in OF_EPOCHS if run.kind == "decoupled" else ():
            self._gauges[name].set(float(getattr(epoch, name)), {"run": self._name})
