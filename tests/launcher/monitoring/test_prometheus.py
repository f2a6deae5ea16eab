"""The figures of a run as Prometheus reads them, over a real connection."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dni_async import ConfigError, RunConfig
from dni_async.launcher.monitoring.prometheus import MetricsServer
from tests.launcher.told import EPOCH, baseline, decoupled, progress


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    """At a free port."""
    with closing(MetricsServer(RunConfig(metrics_port=0, batch_size=100, accumulate=2))) as server:
        yield server


def read(url: str) -> dict[tuple[str, str], float]:
    """What is served, by name and value of the one label."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_before_anything_was_told_only_the_run_is_named(server: MetricsServer) -> None:
    assert {name for name, _ in read(server.url)} == {"dni_run_info"}


def test_counters_of_every_stage(server: MetricsServer) -> None:
    for stage in (0, 1):
        server.progress(progress(stage, updates=10 + stage))
    figures = read(server.url)
    expected = {
        "updates_total": 11, "busy_seconds_total": 1, "waiting_seconds_total": 2,
        "sending_seconds_total": 0.5, "credit_waiting_seconds_total": 0.25, "staleness_max": 3,
        "staleness_median": 1, "staleness_p99": 2, "window_occupancy": 0.5, "pending_max": 2,
        "resident_bytes": 2**20, "peak_resident_bytes": 2**21, "skipped_batches_total": 5,
        "replayed_batches_total": 6, "frame_bytes_total": 30, "shared_bytes_total": 40,
        "restarts_total": 0, "epoch": 1,
    }  # fmt: skip
    assert {name: figures[f"dni_stage_{name}", "1"] for name in expected} == expected
    assert figures["dni_stage_updates_total", "0"] == 10
    assert 0 <= figures["dni_stage_report_age_seconds", "0"] < 60


def test_what_a_stage_does_not_have_is_left_out(server: MetricsServer) -> None:
    server.progress(progress(0))
    server.progress(progress(1, occupancy=-1.0, loss=0.75))
    figures = read(server.url)
    assert ("dni_stage_window_occupancy", "1") not in figures
    assert figures["dni_stage_loss", "1"] == 0.75
    assert ("dni_stage_loss", "0") not in figures


def test_samples_per_second_are_those_since_the_last_report(server: MetricsServer) -> None:
    server.progress(progress(0, updates=10, busy_s=1.0))
    server.progress(progress(0, updates=30, busy_s=3.0))
    assert read(server.url)["dni_stage_samples_per_second", "0"] == 20 * 2 * 100 / 2


def test_a_replacement_begins_again(server: MetricsServer) -> None:
    server.progress(progress(0, updates=10, busy_s=9.0))
    server.progress(progress(0, updates=2, busy_s=0.5))
    figures = read(server.url)
    assert figures["dni_stage_samples_per_second", "0"] == 0
    assert figures["dni_stage_updates_total", "0"] == 2


def test_epochs_boundaries_and_restarts(server: MetricsServer) -> None:
    server.progress(progress(0))
    server.progress(progress(1))
    server.begin(decoupled(EPOCH, cosine=-0.25))
    server.begin(baseline())
    figures = read(server.url)
    expected = {
        "dni_epoch": 1, "dni_train_loss": 0.25, "dni_test_loss": 0.5,
        "dni_samples_per_second": 2000,
    }  # fmt: skip
    assert {name: figures[name, "dni"] for name in expected} == expected
    assert figures["dni_test_metric", "accuracy"] == 0.75
    assert ("dni_epoch", "baseline") not in figures
    expected = {
        "cosine": -0.25, "relative_error": 0.75, "norm_ratio": 0.25, "gradients": 9,
        "staleness_median": 2, "staleness_max": 7,
    }  # fmt: skip
    assert {name: figures[f"dni_boundary_{name}", "0"] for name in expected} == expected
    assert figures["dni_stage_restarts_total", "1"] == 1
    assert figures["dni_stage_restarts_total", "0"] == 0


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = f"metrics_port: 127.0.0.1:{port} cannot be listened on: Address already in use"
        with pytest.raises(ConfigError, match=sentence):
            MetricsServer(RunConfig(metrics_port=port))


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(ConfigError, match=r"metrics_port: 192\.0\.2\.1:0 cannot be listened on"):
        MetricsServer(RunConfig(metrics_port=0, metrics_host="192.0.2.1"))


def test_once_closed_nobody_is_answered() -> None:
    server = MetricsServer(RunConfig(metrics_port=0))
    server.close()
    with pytest.raises(OSError, match="refused"):
        read(server.url)
