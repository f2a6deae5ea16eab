"""The links of a report: from what a worker tells to the rows of a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.launcher.report.rows import LINK_COLUMNS, link_rows
from dni_async.launcher.report.worker_results import LinkResult
from tests.launcher.reports import link
from tests.launcher.told import progress

CONFIG = RunConfig(wire_dtype="int8", transport="tcp", window=5)


def test_a_link_is_told_by_the_stage_below_it() -> None:
    told = progress(
        2,
        link_activations=10,
        link_up_bytes=40_000,
        link_down_bytes=1_000,
        link_in_flight_s=0.5,
        link_credit_s=0.25,
        link_least_credit_s=0.125,
        link_carrier="tcp",
    )
    result = LinkResult.from_progress(told, CONFIG)
    assert result is not None
    assert result.to_dict() == {
        "boundary": 2,
        "carrier": "tcp",
        "wire_dtype": "int8",
        "window": 5,
        "activations": 10,
        "up_bytes": 4000.0,
        "down_bytes": 100.0,
        "up_bytes_per_second": 80_000,
        "credit_median_seconds": 0.25,
        "credit_least_seconds": 0.125,
    }
    rows = link_rows({"links": [result.to_dict()]})
    assert rows == [["2", "tcp", "int8", "5", "4.0", "0.1", "0.1", "250.00", "125.00"]]
    assert len(rows[0]) == len(LINK_COLUMNS)


def test_a_window_that_was_set_as_the_run_went_is_told_as_it_was_in_the_end() -> None:
    told = progress(0, link_activations=1, link_carrier="tcp", link_window=32)
    result = LinkResult.from_progress(told, replace(CONFIG, window="auto"))
    assert result is not None
    assert result.window == 32


def test_the_head_and_a_stage_that_sent_nothing_have_no_link() -> None:
    assert LinkResult.from_progress(progress(3), CONFIG) is None


def test_a_link_without_a_credit_has_no_times() -> None:
    told = progress(0, link_activations=1, link_up_bytes=9, link_carrier="ipc")
    result = LinkResult.from_progress(told, CONFIG)
    assert result is not None
    assert (result.credit_median_seconds, result.up_bytes_per_second) == (None, 0.0)
    assert link_rows({"links": [result.to_dict()]})[0][-2:] == ["-", "-"]


@pytest.mark.parametrize("run", [{}, {"links": []}])
def test_a_report_from_before_has_no_rows(run: dict[str, list[object]]) -> None:
    assert link_rows(run) == []
    assert link_rows({"links": [link(0), link(1)]})
