"""A run's figures among Ray's metrics, set from what the workers tell the coordinator."""

from __future__ import annotations

from typing import Any

from dni_async.launcher.report.results import EpochResult, RunResult
from dni_async.launcher.report.watcher import Watcher
from dni_async.wire.counters import FIGURES
from dni_async.wire.messages import Progress

__all__ = ["RayGauges"]

OF_STAGES = (
    "updates", "busy_s", "waiting_s", "sending_s", "max_staleness", "rss_bytes", "frame_bytes",
)  # fmt: skip
OF_EPOCHS = {
    "epoch": "The last epoch that has ended.",
    "train_loss": "Its mean training loss.",
    "test_loss": "Its test loss.",
}


class RayGauges(Watcher):
    """A watcher that sets Ray's gauges. name: of the run, which they carry as a tag."""

    def __init__(self, name: str) -> None:
        from ray.util.metrics import Gauge

        self._name = name
        self._figures = [figure for figure in FIGURES if figure.name in OF_STAGES]
        self._gauges: dict[str, Any] = {
            each.name: Gauge(
                f"dni_{each.name}", description=each.shown.says, tag_keys=("run", "stage")
            )
            for each in self._figures
        } | {
            name: Gauge(f"dni_{name}", description=text, tag_keys=("run",))
            for name, text in OF_EPOCHS.items()
        }
        self._metrics = Gauge(
            "dni_test_metric", description="Its test metrics.", tag_keys=("run", "metric")
        )

    def progress(self, progress: Progress) -> None:
        """A worker's counters."""
        tags = {"run": self._name, "stage": str(progress.stage)}
        for figure in self._figures:
            self._gauges[figure.name].set(float(figure.of(progress.counters)), tags)

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """An epoch of the workers; the baselines are trained here, not on the cluster."""
        if run.kind != "decoupled":
            return
        for name in OF_EPOCHS:
            value = getattr(epoch, name)
            if value is not None:
                self._gauges[name].set(float(value), {"run": self._name})
        for name, value in epoch.test_metrics.items():
            self._metrics.set(value, {"run": self._name, "metric": name})
