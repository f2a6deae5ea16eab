"""How long places stay taken: sendings and releases in, times out."""

from __future__ import annotations

from dni_async.workers.reporting.round_trips import NUM_RECENT, RoundTrips


def test_a_link_that_was_not_used_has_no_times() -> None:
    trips = RoundTrips()
    assert (trips.num_sent, trips.median_s, trips.least_s, trips.in_flight_s(5.0)) == (0, -1, -1, 0)


def test_releases_come_in_any_order() -> None:
    trips = RoundTrips()
    for batch_id in range(3):
        trips.sent(batch_id, 10.0 + batch_id)  # at 10, 11, 12
    trips.released(2, 13.0)  # 1
    trips.released(0, 14.0)  # 4
    trips.released(1, 16.0)  # 5
    assert (trips.num_sent, trips.median_s, trips.least_s) == (3, 4.0, 1.0)
    assert (trips.num_released, trips.sum_s) == (3, 10.0)


def test_time_in_flight_is_counted_once_however_many_are() -> None:
    trips = RoundTrips()
    trips.sent(0, 1.0)
    trips.sent(1, 2.0)
    assert (trips.num_in_flight, trips.in_flight_s(4.0)) == (2, 3.0)
    trips.released(0, 5.0)
    trips.released(1, 6.0)
    assert trips.in_flight_s(50.0) == 5.0
    trips.sent(2, 100.0)
    assert trips.in_flight_s(101.0) == 6.0


def test_what_is_not_in_flight_changes_nothing() -> None:
    trips = RoundTrips()
    trips.sent(0, 1.0)
    trips.released(7, 2.0)
    trips.released(0, 3.0)
    trips.released(0, 9.0)
    assert (trips.median_s, trips.in_flight_s(9.0)) == (2.0, 2.0)


def test_a_link_made_anew_forgets_what_was_in_flight() -> None:
    trips = RoundTrips()
    trips.sent(0, 1.0)
    trips.lose(4.0)
    trips.released(0, 6.0)  # nothing of the old link is answered
    assert (trips.median_s, trips.in_flight_s(9.0), trips.num_sent) == (-1, 3.0, 1)
    trips.lose(10.0)
    trips.sent(0, 20.0)
    trips.released(0, 21.0)
    assert (trips.least_s, trips.in_flight_s(30.0)) == (1.0, 4.0)


def test_the_median_is_of_the_last_ones_and_the_least_of_all() -> None:
    trips = RoundTrips()
    for batch_id in range(2 * NUM_RECENT):
        trips.sent(batch_id, 0.0)
        trips.released(batch_id, 1.0 if batch_id < NUM_RECENT else 5.0)
    assert (trips.median_s, trips.least_s) == (5.0, 1.0)
