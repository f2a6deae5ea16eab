"""By what a run is judged, and which test is its last."""

from __future__ import annotations

import math

import pytest

from dni_async.decisions.goal import Goal, Outlook

NAN = math.nan


@pytest.mark.parametrize(("metric", "figure"), [("loss", 0.5), ("mae", 3.0), ("accuracy", None)])
def test_the_chosen_figure_of_a_test(metric: str, figure: float | None) -> None:
    assert Goal(metric).figure(0.5, {"mae": 3.0}) == figure


@pytest.mark.parametrize(
    ("goal", "figures", "last"),
    [
        (Goal("a", "max", 0.9), [0.95, 0.99], None),
        (Goal("a", "max", 0.9, ends_early=True), [0.8, NAN, None, 0.9, 0.95], 4),
        (Goal("a", "min", 0.1, ends_early=True), [0.5, 0.2, 0.1, 0.0], 3),
        (Goal("a", "max", patience=2), [0.5, 0.6, 0.6, 0.5, 0.9], 4),
        (Goal("a", "min", patience=2), [0.5, 0.4, 0.5, 0.3, 0.5, 0.3], 6),
        (Goal("a", "min", patience=3), [3.0, 2.0, 1.0, 0.5], None),
        (Goal("a", "max", patience=2), [NAN, None, 0.5], 2),
        (Goal("a", "max", 0.6, ends_early=True, patience=1), [0.5, 0.5], 2),
    ],
)
def test_which_test_is_the_last(goal: Goal, figures: list[float | None], last: int | None) -> None:
    outlook = Outlook(goal)
    reasons = {epoch: outlook.hear(epoch, each) for epoch, each in enumerate(figures, start=1)}
    assert next((epoch for epoch, reason in reasons.items() if reason), None) == last


def test_patience_counts_epochs_and_not_tests() -> None:
    outlook = Outlook(Goal("mae", "min", patience=8))
    assert [outlook.hear(epoch, 1.0) for epoch in (4, 8)] == ["", ""]
    assert outlook.hear(12, 1.0) == "mae has not been better than 1 for 8 epochs"
    assert (outlook.best, outlook.best_epoch) == (1.0, 4)


def test_a_run_that_goes_on_knows_its_best() -> None:
    outlook = Outlook(Goal("mae", "min", patience=3), best=0.5, best_epoch=4)
    assert [bool(outlook.hear(epoch, 0.6)) for epoch in (5, 6, 7)] == [False, False, True]
    assert bool(Outlook(Goal("mae", "min", patience=3), 0.5, 4).hear(7, 0.4)) is False
