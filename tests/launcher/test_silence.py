"""Who has been silent for too long, and what is done about it when."""

from __future__ import annotations

import pytest

from launcher.silence import LOOK_S, STACK_S, Silence, Step

AFTER_S = 10.0
Heard = dict[float, list[int]]  # when, and whom


def steps_of(
    silence: Silence, end_s: float, pids: list[int], heard: Heard, every_s: float = 0.5
) -> list[tuple[float, int, Step]]:
    """What is decided by looks every so often from second 0 on; heard are words in between."""
    decided = []
    for count in range(int(end_s / every_s) + 1):
        now = count * every_s
        for pid in heard.get(now, []):
            silence.hear(pid)
        decided += [(now, pid, step) for pid, step in silence.look(now, pids)]
    return decided


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ({}, [(10.0, 7, "ask"), (11.0, 7, "kill")]),
        ({4.0: [7]}, [(14.0, 7, "ask"), (15.0, 7, "kill")]),
        ({float(second): [7] for second in range(60)}, []),
        # It speaks after it was asked, and is left alone until it is silent again.
        ({10.5: [7]}, [(10.0, 7, "ask"), (20.5, 7, "ask"), (21.5, 7, "kill")]),
        # Others' words are not its own.
        ({float(second): [8] for second in range(60)}, [(10.0, 7, "ask"), (11.0, 7, "kill")]),
    ],
)
def test_one_that_says_nothing_is_asked_and_then_killed_once(
    heard: Heard, expected: list[tuple[float, int, Step]]
) -> None:
    assert steps_of(Silence(AFTER_S), 30.0, [7], heard) == expected


def test_each_is_judged_by_itself() -> None:
    decided = steps_of(Silence(AFTER_S), 13.0, [3, 5], {2.0: [5]})
    assert decided == [(10.0, 3, "ask"), (11.0, 3, "kill"), (12.0, 5, "ask"), (13.0, 5, "kill")]


def test_a_replacement_begins_anew() -> None:
    silence = Silence(AFTER_S)
    assert steps_of(silence, 8.0, [3], {}) == []
    assert silence.look(8.5, [4]) == []
    assert [silence.look(8.5 + s, [4]) for s in (1, 2, 3)] == [[], [], []]
    assert silence.look(12.0, [3]) == []  # nothing is known of it any more


def test_time_in_which_nobody_listened_is_nobodys_silence() -> None:
    silence = Silence(AFTER_S)
    silence.look(0.0, [3])
    assert silence.look(3600.0, [3]) == []
    assert silence.look(3600.0 + LOOK_S, [3]) == []
    decided = [silence.look(3601.0 + s, [3]) for s in range(1, 12)]
    assert decided[7] == [(3, "ask")]
    assert decided[7 + int(STACK_S)] == [(3, "kill")]


def test_nobody_is_ever_stuck_where_that_is_not_asked_for() -> None:
    assert steps_of(Silence(0.0), 1000.0, [3], {}) == []
