"""A curve's points lie at the multiples of so many updates, and nothing falls between them."""

from __future__ import annotations

import math

import pytest

from dni_async.decisions.curve import Curve, updates_between_points
from dni_async.decisions.schedule import trained_up_to
from dni_async.wire.points import MAX_POINTS, Point


def trained(curve: Curve, first: int, last: int) -> None:
    """Have the curve hear of updates of one second and ten samples, with their number for loss."""
    for updates in range(first, last + 1):
        curve.add_loss(float(updates), 10)
        if curve.reach(updates, 10):
            curve.add(updates, 1.0)


def told(curve: Curve) -> list[tuple[int, int, float]]:
    """Update, samples and loss of each point that waits."""
    return [(point.updates, point.num_samples, point.loss) for point in curve.take()]


def test_a_point_is_the_mean_since_the_one_before() -> None:
    curve = Curve(4)
    trained(curve, 1, 9)
    assert told(curve) == [(4, 40, 2.5), (8, 40, 6.5)]
    trained(curve, 10, 12)
    assert told(curve) == [(12, 40, 10.5)]  # with the one that had no point yet
    assert curve.take() == ()


def test_a_batch_weighs_what_its_labels_do() -> None:
    curve = Curve(2)
    curve.add_loss(1.0, 3)
    curve.reach(1, 10)
    curve.add_loss(5.0, 1)
    assert curve.reach(2, 10)
    curve.add(2, 1.0)
    assert told(curve) == [(2, 20, 2.0)]


def test_a_stage_without_a_loss_has_points_without() -> None:
    curve = Curve(1)
    assert curve.reach(1, 10)
    curve.add(1, 0.5, busy=0.25)
    (point,) = curve.take()
    assert point.busy == 0.25
    assert math.isnan(point.loss)


def test_an_update_that_is_lost_moves_the_point_to_the_next() -> None:
    curve = Curve(4)
    trained(curve, 1, 3)
    trained(curve, 5, 8)
    assert told(curve) == [(5, 40, 2.75), (8, 30, 7.0)]


def test_who_takes_a_stage_over_begins_between_two_points() -> None:
    curve = Curve(4)
    trained(curve, 102, 108)
    assert told(curve) == [(104, 30, 103.0), (108, 40, 106.5)]


def test_who_goes_on_from_a_checkpoint_tells_what_one_who_never_stopped_tells() -> None:
    stopped, goes_on, whole = Curve(4), Curve(4), Curve(4)
    trained(whole, 1, 8)
    trained(stopped, 1, 6)
    state = stopped.state(span_s=0.5)
    assert state["last"] == 4
    goes_on.restore(state, has_loss=True)
    other = Curve(4)
    other.restore(state, has_loss=False)  # a stage that is new
    assert other.take() == ()
    trained(goes_on, 7, 8)
    first, second = goes_on.take()
    assert first == stopped.take()[0]  # nobody had been told of it
    assert (second.updates, second.num_samples, second.loss) == (8, 40, whole.take()[-1].loss)
    assert second.span_s == 1.5  # half a second before the checkpoint


def test_who_goes_on_tells_again_what_perhaps_nobody_heard() -> None:
    stopped, goes_on = Curve(1), Curve(1)
    trained(stopped, 1, 3)
    heard = stopped.take()
    trained(stopped, 4, MAX_POINTS)
    goes_on.restore(stopped.state(span_s=0.0), has_loss=True)
    trained(goes_on, MAX_POINTS + 1, 2 * MAX_POINTS)  # and what waits already makes none fewer
    told_again = goes_on.take()
    assert told_again[:3] == heard
    points = (*told_again, *goes_on.take())
    assert [point.updates for point in points] == list(range(1, 2 * MAX_POINTS + 1))


def test_who_is_stopped_again_and_again_loses_no_point_and_keeps_no_more_of_them() -> None:
    heard: set[int] = set()
    curve, at = Curve(1), 0
    for _ in range(5):
        heard |= {point.updates for point in curve.take()}  # as it begins
        trained(curve, at + 1, at + 1)
        heard |= {point.updates for point in curve.take()}  # after its first update
        trained(curve, at + 2, at + 50)
        at += 50
        state = curve.state(span_s=0.0)
        assert len(state["waiting"]) <= 2 * MAX_POINTS
        curve = Curve(1)
        curve.restore(state, has_loss=True)
    while points := curve.take():
        heard |= {point.updates for point in points}
    assert heard == set(range(1, at + 1))


def test_with_no_updates_between_points_there_are_none() -> None:
    curve = Curve(0)
    trained(curve, 1, 100)
    assert curve.take() == ()


def test_points_that_nobody_hears_become_fewer_and_lose_nothing() -> None:
    curve = Curve(1)
    trained(curve, 1, 3 * MAX_POINTS)
    points = curve.take()
    assert [point.updates for point in points] == list(range(1, MAX_POINTS + 1))
    trained(curve, 3 * MAX_POINTS + 1, 20 * MAX_POINTS)
    later = curve.take()
    assert len(later) <= MAX_POINTS
    ends = [point.updates for point in later]
    assert ends[1] - ends[0] > 1
    total = sum(point.num_samples for point in points + later)
    assert total == 10 * ends[-1]  # all up to the last one


@pytest.mark.parametrize(
    ("asked", "num_updates", "every"), [(None, 5, 1), (None, 1000, 10), (7, 1000, 7), (0, 1000, 0)]
)
def test_a_run_of_any_length_has_a_curve_that_one_can_see(
    asked: int | None, num_updates: int, every: int
) -> None:
    assert updates_between_points(asked, num_updates) == every


def test_batches_are_counted_without_those_of_tests() -> None:
    assert [trained_up_to(batch_id, 3, 2) for batch_id in (0, 1, 2, 5, 6, 10)] == [1, 2, 3, 4, 5, 7]


def test_a_point_says_what_it_has_nothing_of() -> None:
    point = Point(1, 0.5, 10)
    assert all(math.isnan(value) for value in (point.loss, point.cosine, point.occupancy))
