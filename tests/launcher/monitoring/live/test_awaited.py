"""What a run that trains is seen to wait for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from dni_async.launcher.dashboard.facts import Facts, StageFacts
from dni_async.launcher.dashboard.ledger import Moment, StageNow
from dni_async.launcher.monitoring.live.awaited import awaited_of
from dni_async.launcher.report.results import EpochResult, RunResult
from tests.launcher.told import baseline, decoupled, progress

STAGES = tuple(StageFacts(k, str(k), "cpu") for k in range(4))
FACTS = Facts("digits", "dni", 10, (90, 10), 64, 2, 0.1, STAGES, {"evaluate_every": 1})
LAST = EpochResult(10, 0.5, 0.25, 0.5, {"accuracy": 0.75}, 1000)


def moment(run: RunResult, *heard_s: float, next_id: int = 500, **changes: Any) -> Moment:
    """21 seconds after all began; each stage was heard so many seconds after it."""
    stages = {
        stage: StageNow(progress(stage, next_batch_id=next_id), at_s, 1.0, ())
        for stage, at_s in enumerate(heard_s)
    }
    told = {"facts": FACTS, "runs": (run,), "began_s": (0.5,), "stages": stages, **changes}
    return Moment(1, 21.0, "training", **told)


@pytest.mark.parametrize(
    ("at", "gone", "said"),
    [
        (moment(decoupled(), 20.5, 20.5, 20.5), (), ""),
        (moment(decoupled(), 20.5, 17.5, 17.0), (), "nothing is heard of stages 1-2"),
        (
            moment(decoupled(), 20.5, 17.5, 17.0),
            (0, 2, 3),
            "another worker is awaited for stages 0, 2-3",
        ),
        (moment(decoupled(), 20.5, next_id=590), (), "the test after epoch 6"),
        (moment(decoupled(), 20.5, next_id=592), (), "the test after epoch 6: batch 2 of 10"),
        (moment(decoupled(LAST), 20.5, next_id=1000), (), "the workers save their stages"),
        (moment(decoupled()), (), ""),
        (moment(baseline(), trained=((20.0, 89),)), (), ""),
        (moment(baseline(), trained=((20.0, 90),)), (), "the test after epoch 1"),
        (moment(baseline(LAST)), (), ""),
    ],
)  # fmt: skip
def test_what_is_waited_for_shows_in_what_was_told(
    at: Moment, gone: Iterable[int], said: str
) -> None:
    assert awaited_of(at, gone) == said
