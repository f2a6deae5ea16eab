"""What is told of how long something may take: before it is done, where that is not as ever."""

from __future__ import annotations

import math

from dni_async.decisions.actions import (
    Action,
    Announce,
    Batch,
    Cut,
    Evaluate,
    Forget,
    Load,
    Mark,
    Save,
)
from dni_async.workers.reporting.pace import FORGETS, NOTABLE_S, Pace

SAVE = Save(Cut(8, 1, 8))


def do(pace: Pace, action: Action, seconds: float) -> bool:
    """Whether it is told of before it is done."""
    is_told = pace.foresee(action)
    pace.did(action, seconds)
    return is_told


def settled(*actions: Action, seconds: float = 0.004) -> Pace:
    """A pace that knows these, and has told so."""
    pace = Pace()
    for action in 2 * actions:
        do(pace, action, seconds)
    pace.look_back()
    return pace


def test_before_anything_is_known_it_has_been_told_that_nothing_is() -> None:
    pace = Pace()
    assert pace.told == math.inf
    assert not do(pace, Forget(0), 30.0), "a first time is not told of twice"
    pace.look_back()
    assert pace.told == 0.0
    assert not do(pace, Forget(1), 0.004)
    pace.look_back()
    assert pace.told == 0.004


def test_what_is_done_for_the_first_time_is_told_of_before_once() -> None:
    pace = settled(Forget(0))
    assert do(pace, Evaluate(1), 9.0)
    assert pace.told == math.inf
    assert not do(pace, Load(Batch(2, "evaluate", False)), 9.0), "nothing is known yet anyway"
    pace.look_back()
    assert not do(pace, Evaluate(2), 0.01)
    assert do(pace, Load(Batch(3, "train", False)), 0.01), "another kind of load"
    pace.look_back()
    assert do(pace, Announce(Mark("trained", 1)), 0.0)
    pace.look_back()
    assert do(pace, Announce(Mark("evaluated", 1)), 0.0)


def test_what_a_disk_decides_is_told_of_each_time() -> None:
    pace = settled(Forget(0), SAVE)
    assert do(pace, SAVE, 0.001)
    assert not do(pace, SAVE, 0.001), "until it tells again"
    pace.look_back()
    assert do(pace, SAVE, 0.001)


def test_a_long_thing_that_is_seldom_done_is_told_of_with_its_time() -> None:
    test = Announce(Mark("evaluated", 1))
    pace = settled(Forget(0))
    do(pace, test, 5.0)
    do(pace, test, 3.0)
    pace.look_back()
    pace.look_back()
    assert pace.told == 0.0
    assert pace.foresee(test)
    assert pace.told == 3.0


def test_one_long_pause_of_what_is_done_all_the_time_is_forgotten() -> None:
    pace = settled(Forget(0))
    do(pace, Forget(0), 1.5)
    for _ in range(60):
        do(pace, Forget(0), 0.004)
    pace.look_back()
    pace.look_back()
    assert not pace.foresee(Forget(0))
    assert 1.5 * FORGETS**60 < NOTABLE_S


def test_with_a_compiler_and_at_the_end_nothing_is_known() -> None:
    pace = Pace(is_known=False)
    do(pace, Forget(0), 0.004)
    pace.look_back()
    assert pace.told == math.inf
    pace = settled(Forget(0))
    pace.anything()
    assert pace.told == math.inf
