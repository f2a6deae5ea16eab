"""A curve's updates only grow, whoever tells of them."""

from __future__ import annotations

from dni_async.launcher.report.curves import CurvePoint, Curves
from dni_async.wire.points import Point


def point(updates: int, **figures: float) -> Point:
    """Ten samples in half a second."""
    return Point(updates, 0.5, 10, **figures)


def test_seconds_and_pace_come_from_the_spans() -> None:
    curves = Curves()
    first, second = curves.enter(2, [point(4, loss=0.25), point(8, loss=0.125)])
    assert (first.stage, first.seconds, first.samples_per_second, first.loss) == (2, 0.5, 20, 0.25)
    assert (second.updates, second.seconds, second.loss) == (8, 1.0, 0.125)


def test_a_replacement_goes_on_where_the_curve_is() -> None:
    curves = Curves()
    curves.enter(0, [point(4), point(8)])
    again = curves.enter(0, [point(8), point(12)])
    assert [(each.updates, each.seconds) for each in again] == [(12, 1.5)]
    assert [each.updates for each in curves.enter(1, [point(4)])] == [4]  # each stage its own


def test_a_resumed_run_goes_on_behind_the_points_that_it_keeps() -> None:
    before = [CurvePoint(stage=0, updates=8, seconds=4.0, samples_per_second=20.0)]
    curves = Curves(before)
    (fresh,) = curves.enter(0, [point(8), point(12)])
    assert (fresh.updates, fresh.seconds) == (12, 4.5)
    (new,) = curves.enter(1, [point(12)])  # a stage that was not there
    assert new.seconds == 4.5


def test_the_loss_goes_on_where_another_stage_was_the_head() -> None:
    head = CurvePoint(stage=2, updates=8, seconds=4.0, samples_per_second=20.0, loss=0.5)
    other = CurvePoint(stage=1, updates=4, seconds=4.0, samples_per_second=20.0)
    fresh = Curves([head, other]).enter(1, [point(8, loss=0.5), point(12, loss=0.25)])
    assert [(each.updates, each.loss) for each in fresh] == [(12, 0.25)]


def test_a_point_is_read_back_as_it_was_written() -> None:
    (whole,) = Curves().enter(0, [point(4, loss=0.5, busy=0.75)])
    row = whole.to_dict()
    assert "cosine" not in row
    assert "num_gradients" not in row
    assert CurvePoint.from_dict(row | {"of a later version": 1}) == whole
