"""What a worker counts: the one table that all who show it go by."""

from __future__ import annotations

import pytest

from dni_async.wire.counters import FIGURES, Counters, Figure, Memory, Times, WindowUse, Work
from dni_async.wire.messages import Progress

IN_METRICS = (
    "run_id stage updates epoch busy_s waiting_s sending_s loss max_staleness max_pending "
    "rss_bytes train_busy_s train_sending_s train_cpu_s occupancy staleness_median staleness_p99 "
    "frame_bytes shared_bytes peak_rss_bytes credit_waiting_s data_waiting_s skipped replayed "
    "next_batch_id epoch_s link_activations link_up_bytes link_down_bytes link_in_flight_s "
    "link_credit_s link_least_credit_s link_carrier link_window link_in_flight"
)
BY_NAME = {figure.name: figure for figure in FIGURES}


def test_a_line_of_metrics_has_the_names_that_it_always_had() -> None:
    line = Progress("run", 1, Counters(work=Work(updates=7))).to_dict()
    assert sorted(line) == sorted(IN_METRICS.split())
    assert (line["run_id"], line["stage"], line["updates"], line["link_credit_s"]) == (
        "run", 1, 7, -1.0,
    )  # fmt: skip


def test_no_two_figures_share_a_name_anywhere() -> None:
    for names in (
        [each.name for each in FIGURES],
        [each.shown.report for each in FIGURES if each.shown.report],
        [each.shown.metric for each in FIGURES if each.shown.metric],
        [each.shown.column for each in FIGURES if each.shown.column],
    ):
        assert len(names) == len(set(names))


def test_every_figure_says_what_it_is() -> None:
    assert [each.name for each in FIGURES if not each.shown.says.endswith(".")] == []


@pytest.mark.parametrize(
    ("name", "raw", "value", "reported"),
    [
        ("busy_s", 1.0, 1.0, 0.3333),  # of 3 seconds
        ("train_cpu_s", 1.23456, 1.23456, 1.2346),
        ("updates", 7, 7, 7),
        ("occupancy", -1.0, None, None),
        ("rss_bytes", 123456789, 123456789, 123456789),
        ("loss", -0.123456789, -0.123456789, -0.123456789),
    ],
)
def test_a_figure_is_told_as_it_is_and_reported_by_its_unit(
    name: str, raw: object, value: object, reported: object
) -> None:
    counters = Counters(
        times=Times(busy_s=1.0, waiting_s=1.5, sending_s=0.5, train_cpu_s=1.23456),
        work=Work(updates=7, loss=-0.123456789),
        window=WindowUse(occupancy=-1.0),
        memory=Memory(rss_bytes=123456789),
    )
    figure: Figure = BY_NAME[name]
    told = (figure.raw(counters), figure.of(counters), figure.reported(counters))
    assert told == (raw, value, reported)


def test_a_loss_that_there_is_not_yet_is_none() -> None:
    assert BY_NAME["loss"].of(Counters()) is None
    assert Counters().to_dict()["loss"] is None


def test_before_any_time_has_passed_its_shares_are_nothing() -> None:
    assert BY_NAME["busy_s"].reported(Counters()) == 0.0
