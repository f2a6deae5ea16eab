"""Which stages of a run stand in the table."""

from __future__ import annotations

import pytest

from dni_async.launcher.dashboard.ledger import StageNow
from dni_async.launcher.dashboard.pace import Pace
from dni_async.launcher.monitoring.live.stages import shown_stages
from tests.launcher.told import progress

BUSY = (0.1, 0.2, 0.9, 0.3, 0.8, 0.1)


def stages() -> dict[int, StageNow]:
    """Six that are busy so much of their time."""
    return {
        stage: StageNow(progress(stage), 2.0, 1.0, ((2.0, pace(busy)),))
        for stage, busy in enumerate(BUSY)
    }


def pace(busy: float) -> Pace:
    return Pace(0.5, busy, 1 - busy, 0.0, 0.0, 1.0, 20.0, 20.0, 1000.0, 10.0)


@pytest.mark.parametrize(
    ("room", "shown"),
    [(6, [0, 1, 2, 3, 4, 5]), (5, [0, 2, 4, 5]), (4, [0, 2, 5]), (1, []), (-3, [])],
)
def test_without_room_for_all_the_ends_stay_and_those_that_work_most(
    room: int, shown: list[int]
) -> None:
    assert shown_stages(stages(), room) == shown
