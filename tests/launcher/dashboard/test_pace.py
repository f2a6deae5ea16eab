"""How fast a worker works, from two of its reports, and a past that stays short."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dni_async.launcher.dashboard.pace import ROW, History, pace_between, row_of
from tests.launcher.told import counted


def test_a_pace_is_of_the_time_between_two_reports() -> None:
    before = counted(updates=10, busy_s=1.0, waiting_s=2.0, sending_s=1.0, credit_waiting_s=0.0)
    now = counted(
        updates=30, busy_s=2.0, waiting_s=2.75, sending_s=1.25, credit_waiting_s=0.5,
        train_cpu_s=4.0, link_activations=8, link_up_bytes=1000, link_down_bytes=10,
    )  # fmt: skip
    pace = pace_between(before, now)
    assert pace is not None
    assert (pace.busy, pace.waiting, pace.sending, pace.held) == (0.5, 0.375, 0.125, 0.25)
    assert (pace.seconds, pace.updates, pace.cores) == (2.0, 10.0, 1.5)
    assert (pace.activations, pace.up_bytes, pace.down_bytes) == (4.0, 500.0, 5.0)


@pytest.mark.parametrize("changes", [{}, {"busy_s": 0.1}, {"busy_s": 9.0, "updates": 2}])
def test_there_is_none_without_time_between_nor_of_another_worker(changes: dict[str, int]) -> None:
    assert pace_between(counted(), counted(**changes)) is None


def test_a_row_has_the_columns_it_says_and_lacks_what_is_not_known() -> None:
    now = counted(busy_s=3.0, link_window=8, link_in_flight=2)
    pace = pace_between(counted(), now)
    assert pace is not None
    row = dict(zip(ROW, row_of(1.5, pace, now), strict=True))
    assert (row["seconds"], row["busy"], row["window"], row["credit_ms"]) == (1.5, 1.0, 0.25, None)
    assert row_of(1.5, pace, counted())[ROW.index("window")] is None  # the head has no link above


def test_a_history_keeps_few_rows_evenly_however_many_come() -> None:
    history = History(max_rows=8)
    for number in range(1000):
        history.add([float(number)])
        assert len(history.rows()) < 8
    kept = [row[0] or 0.0 for row in history.rows()]
    gaps = {after - before for before, after in pairwise(kept)}
    assert len(gaps) == 1
    assert kept[-1] > 700
