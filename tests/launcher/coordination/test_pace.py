"""What is not listened to is taken in slowly once it is a flood."""

from __future__ import annotations

from dni_async.launcher.coordination.pace import A_TURN, BURST, FLOOD_S, PER_S, Pace


def test_the_mistakes_of_a_run_are_no_flood() -> None:
    pace = Pace()
    for second in range(1000):
        assert not pace.begin_turn(float(second))
        assert not pace.is_enough(int(PER_S))


def test_of_a_flood_a_few_are_taken_in_each_turn() -> None:
    pace = Pace()
    assert not pace.begin_turn(1.0)
    taken = 0
    while not pace.is_enough(1):
        taken += 1
    assert taken == BURST - 1
    for turn in range(1, 100):
        assert pace.begin_turn(1.0 + turn * 0.001)
        assert [pace.is_enough(1) for _ in range(A_TURN)] == [False] * (A_TURN - 1) + [True]


def test_it_is_over_when_it_is_over() -> None:
    pace = Pace()
    pace.begin_turn(1.0)
    assert pace.is_enough(10 * BURST)
    assert pace.begin_turn(1.001)
    assert not pace.begin_turn(2.0)
    assert not pace.is_enough(1)


def test_turns_are_short_in_a_flood_for_words_of_the_run_wait_for_them() -> None:
    pace = Pace()
    pace.begin_turn(1.0)
    assert pace.turn_s(0.1) == 0.1
    pace.is_enough(BURST)
    assert pace.turn_s(0.1) == FLOOD_S
    assert pace.turn_s(0.005) == 0.005
