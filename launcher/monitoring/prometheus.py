"""The figures of a run over HTTP, as Prometheus reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.launcher.monitoring.scrapes import ScrapeServer
from dni_async.launcher.report.results import EpochResult, RunResult
from dni_async.launcher.report.watcher import Watcher
from dni_async.wire.counters import FIGURES, Shown
from dni_async.wire.messages import BoundaryEpoch, Progress

__all__ = ["Figures", "MetricsServer"]

# Of a run, from its last epoch.
_EPOCH: Final[tuple[tuple[str, str, Callable[[EpochResult], float | None]], ...]] = (
    ("epoch", "Last epoch that has ended.", lambda e: e.epoch),
    ("train_loss", "Mean training loss of the last epoch.", lambda e: e.train_loss),
    ("test_loss", "Test loss after the last epoch.", lambda e: e.test_loss),
    (
        "samples_per_second",
        "Training samples per second of the last epoch.",
        lambda e: e.num_samples / e.seconds if e.seconds > 0 else 0.0,
    ),
)
# Of a boundary, from its last epoch.
_BOUNDARY: Final[tuple[tuple[str, str, Callable[[BoundaryEpoch], float]], ...]] = (
    ("cosine", "Cosine of synthetic and returned gradients.", lambda b: b.cosine),
    ("relative_error", "Length of their difference over the returned.", lambda b: b.relative_error),
    ("norm_ratio", "Length of the synthetic over the returned one.", lambda b: b.norm_ratio),
    ("gradients", "Gradients that were compared.", lambda b: b.num_gradients),
    ("staleness_median", "Median staleness at the boundary.", lambda b: b.staleness_median),
    ("staleness_max", "Largest staleness at the boundary.", lambda b: b.staleness_max),
)


class Figures(Watcher, Collector):
    """What is known of a run, as it stands when it is asked for.

    It is told in one thread and asked in others: what it keeps is replaced, never changed, and
    copied whole before it is read.
    """

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._runs: tuple[RunResult, ...] = ()
        self._progress: dict[int, Progress] = {}
        self._rates: dict[int, float] = {}  # samples per second, by stage
        self._heard: dict[int, float] = {}  # when, by time.monotonic

    def begin(self, run: RunResult) -> None:
        """A network is trained; result fills as it goes."""
        self._runs = (*self._runs, run)

    def progress(self, progress: Progress) -> None:
        """A worker's counters."""
        before = self._progress.get(progress.stage)
        rate = 0.0 if before is None else self._rate(before, progress)
        self._rates[progress.stage] = rate
        self._heard[progress.stage] = time.monotonic()
        self._progress[progress.stage] = progress

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """An epoch of run; it stands in run already."""

    def collect(self) -> Iterator[Metric]:
        """Everything, for one answer."""
        labels = {"rule": self._config.rule, "data": self._config.data}
        yield InfoMetricFamily("dni_run", "What is trained.", value=labels)
        yield from self._of_stages()
        runs = [run for run in self._runs if run.epochs]
        for name, text, read in _EPOCH:
            values = {run.name: read(run.epochs[-1]) for run in runs}
            yield _gauge(f"dni_{name}", text, "run", values)
        yield _metrics(runs)
        yield from self._of_boundaries()

    def _of_stages(self) -> Iterator[Metric]:
        progress = self._progress.copy()
        for figure in FIGURES:
            if figure.shown.metric:
                values = {str(stage): figure.of(told.counters) for stage, told in progress.items()}
                yield _of_stages(figure.shown, values)
        rates = {str(stage): rate for stage, rate in self._rates.copy().items()}
        text = "Samples per second that updates were made with, between the last two reports."
        yield _gauge("dni_stage_samples_per_second", text, "stage", rates)
        now = time.monotonic()
        ages = {str(stage): now - heard for stage, heard in self._heard.copy().items()}
        text = "Seconds since the worker last told of itself."
        yield _gauge("dni_stage_report_age_seconds", text, "stage", ages)
        restarts = dict.fromkeys(map(str, progress), 0)
        for run in self._runs:
            for restart in list(run.restarts):
                restarts[str(restart.stage)] = restarts.get(str(restart.stage), 0) + 1
        yield _counter("dni_stage_restarts", "Workers that were replaced.", restarts)

    def _of_boundaries(self) -> Iterator[Metric]:
        last: dict[str, BoundaryEpoch] = {}
        for run in self._runs:
            last |= {str(told.stage): told for told in list(run.boundaries)}
        for name, text, read in _BOUNDARY:
            values = {boundary: read(told) for boundary, told in last.items()}
            yield _gauge(f"dni_boundary_{name}", text, "boundary", values)

    def _rate(self, before: Progress, now: Progress) -> float:
        """By the worker's own clock; 0 of one that has just begun in another's place."""
        updates = now.counters.work.updates - before.counters.work.updates
        seconds = now.counters.times.total_s - before.counters.times.total_s
        if updates < 0 or seconds <= 0:
            return 0.0
        return updates * self._config.accumulate * self._config.batch_size / seconds


class MetricsServer(Figures):
    """Figures behind an address.

    url: where they are read, with the port that the kernel chose where 0 was asked for. Raises
    ConfigError when nothing can listen there.
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        assert config.metrics_port is not None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        host = config.metrics_host
        try:
            self._server = ScrapeServer(host, config.metrics_port, self._page)
        except OSError as error:
            raise ConfigError(
                f"metrics_port: {host}:{config.metrics_port} cannot be listened on: "
                f"{error.strerror}; choose another, or 0 for one that is free"
            ) from error
        self.url = self._server.url

    def _page(self, accepts: str) -> tuple[str, bytes]:
        """The figures as they stand now, in a form that is accepted, and its name."""
        encode, kind = choose_encoder(accepts)
        return kind, encode(self._registry)

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.close()


def _metrics(runs: Sequence[RunResult]) -> Metric:
    """What each run's last test came to, by the metrics' names."""
    text = "A metric of the test samples after the last epoch."
    family = GaugeMetricFamily("dni_test_metric", text, labels=["run", "metric"])
    for run in runs:
        for name, value in run.test_metrics.items():
            family.add_metric([run.name, name], value)
    return family


def _of_stages(shown: Shown, values: Mapping[str, float | None]) -> Metric:
    name = f"dni_stage_{shown.metric}"
    if shown.is_total:
        return _counter(name, shown.says, values)
    return _gauge(name, shown.says, "stage", values)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float | None]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    return _filled(family, values.items())


def _counter(name: str, text: str, values: Mapping[str, float | None]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["stage"])
    return _filled(family, values.items())


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, values: Iterable[tuple[str, float | None]]
) -> Metric:
    for label, value in values:
        if value is not None:
            family.add_metric([label], value)
    return family
