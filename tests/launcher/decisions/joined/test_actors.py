"""Which stages get an actor of a cluster when."""

from __future__ import annotations

import pytest

from dni_async import HandshakeError
from dni_async.launcher.decisions.joined.actors import MAX_STARTS, Actors


def test_every_stage_that_waits_gets_one_actor() -> None:
    actors = Actors()
    assert actors.due([0, 2]) == [0, 2]
    assert actors.due([0, 1, 2]) == [1]
    assert actors.due([0, 1, 2]) == []
    actors.end(1, "killed")
    assert actors.due([]) == []
    assert actors.due([1]) == [1]


def test_actors_that_end_time_and_again_are_given_up_with_the_last_reason() -> None:
    actors = Actors()
    for number in range(MAX_STARTS):
        assert actors.due([2]) == [2]
        actors.end(2, f"reason {number}")
    with pytest.raises(HandshakeError, match=r"stage 2: 3 Ray actors .* reason 2; Ray's logs"):
        actors.due([2])


def test_a_stage_that_was_seated_counts_anew() -> None:
    actors = Actors()
    for _ in range(2 * MAX_STARTS):
        assert actors.due([1]) == [1]
        actors.seat(1)
        actors.end(1, "killed")
