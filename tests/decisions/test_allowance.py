"""How many may be at once, and in the long run."""

from __future__ import annotations

from dni_async.decisions.allowance import Allowance


def test_so_many_may_be_at_once_and_come_back_with_time() -> None:
    allowance = Allowance(3, 2.0)
    assert [allowance.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert not allowance.take(10.4)
    assert allowance.take(10.5)
    assert not allowance.take(10.5)


def test_never_more_than_the_burst_is_saved_up() -> None:
    allowance = Allowance(3, 2.0)
    assert allowance.left(0.0) == allowance.left(1e9) == 3.0


def test_what_is_owed_is_paid_first_and_a_clock_that_goes_back_pays_nothing() -> None:
    allowance = Allowance(3, 2.0)
    assert allowance.spend(7) == -4.0
    allowance.left(5.0)
    assert allowance.left(4.0) == -4.0
    assert allowance.left(6.0) == 0.0
