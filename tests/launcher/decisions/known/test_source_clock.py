"""An epoch lasts as long as it lasts, whoever hosts the source."""

from __future__ import annotations

from dni_async.launcher.decisions.known.source_clock import SourceClock
from tests.launcher.told import progress


def heard(clock: SourceClock, now: float, epoch: int, epoch_s: float, next_batch_id: int) -> None:
    """The source told of itself."""
    clock.hear(progress(0, epoch=epoch, epoch_s=epoch_s, next_batch_id=next_batch_id), now)


def test_without_a_death_the_source_is_right() -> None:
    clock = SourceClock()
    heard(clock, 100.0, 1, 2.0, 10)
    assert clock.whole_s(1, 3.5) == 3.5


def test_what_went_before_a_replacement_counts_too() -> None:
    clock = SourceClock()
    heard(clock, 100.0, 2, 5.0, 70)
    clock.took_over(101.0, 103.0)
    assert clock.next_batch_id == 70
    heard(clock, 104.0, 2, 1.0, 60)
    assert clock.next_batch_id == 70
    clock.took_over(104.5, 106.0)  # again, in the same epoch
    assert clock.whole_s(2, 1.5) == 1.5 + (5.0 + 3.0) + (1.0 + 2.0)
    assert clock.whole_s(3, 4.0) == 4.0


def test_of_an_epoch_that_was_not_told_of_the_time_with_nobody_counts() -> None:
    clock = SourceClock()
    heard(clock, 100.0, 1, 5.0, 70)
    clock.took_over(101.0, 103.0)
    assert clock.whole_s(2, 1.0) == 1.0 + 2.0


def test_epochs_without_a_test_count_with_those_up_to_the_next_one() -> None:
    clock = SourceClock(lambda epoch: epoch + epoch % 2)
    heard(clock, 100.0, 3, 5.0, 70)
    clock.took_over(101.0, 103.0)  # 8 s in
    heard(clock, 104.0, 4, 1.0, 90)
    assert clock.whole_s(4, 2.0) == 10.0
