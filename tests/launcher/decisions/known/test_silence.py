"""Who has been silent for too long, and what is done about it when."""

from __future__ import annotations

import pytest

from dni_async.launcher.decisions.known.silence import (
    LEAST_S,
    LOOK_S,
    STACK_S,
    TCP_LEAST_S,
    TIMES,
    Silence,
    Step,
    Worker,
)

AFTER_S = 10.0
ONE, OTHER, NEXT = (1, 0), (2, 0), (1, 1)  # the last one is the replacement of the first
Heard = dict[float, list[Worker]]  # when, and whom


def steps_of(
    silence: Silence, end_s: float, workers: list[Worker], heard: Heard, every_s: float = 0.5
) -> list[tuple[float, Worker, Step]]:
    """What is decided by looks every so often from second 0 on; heard are words in between."""
    decided = []
    for count in range(int(end_s / every_s) + 1):
        now = count * every_s
        for worker in heard.get(now, []):
            silence.hear(worker)
        decided += [(now, worker, step) for worker, step in silence.look(now, workers)]
    return decided


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ({}, [(10.0, ONE, "ask"), (11.0, ONE, "kill")]),
        ({4.0: [ONE]}, [(14.0, ONE, "ask"), (15.0, ONE, "kill")]),
        ({float(second): [ONE] for second in range(60)}, []),
        # It speaks after it was asked, and is left alone until it is silent again.
        ({10.5: [ONE]}, [(10.0, ONE, "ask"), (20.5, ONE, "ask"), (21.5, ONE, "kill")]),
        # Others' words are not its own.
        (
            {float(second): [OTHER] for second in range(60)},
            [(10.0, ONE, "ask"), (11.0, ONE, "kill")],
        ),
    ],
)
def test_one_that_says_nothing_is_asked_and_then_killed_once(
    heard: Heard, expected: list[tuple[float, Worker, Step]]
) -> None:
    assert steps_of(Silence(AFTER_S), 30.0, [ONE], heard) == expected


def test_each_is_judged_by_itself() -> None:
    decided = steps_of(Silence(AFTER_S), 13.0, [ONE, OTHER], {2.0: [OTHER]})
    assert decided == [
        (10.0, ONE, "ask"),
        (11.0, ONE, "kill"),
        (12.0, OTHER, "ask"),
        (13.0, OTHER, "kill"),
    ]


def test_a_replacement_begins_anew() -> None:
    silence = Silence(AFTER_S)
    assert steps_of(silence, 8.0, [ONE], {}) == []
    assert silence.look(8.5, [NEXT]) == []
    assert [silence.look(8.5 + s, [NEXT]) for s in (1, 2, 3)] == [[], [], []]
    assert silence.look(12.0, [ONE]) == []  # nothing is known of it any more


def test_time_in_which_nobody_listened_is_nobodys_silence() -> None:
    silence = Silence(AFTER_S)
    silence.look(0.0, [ONE])
    assert silence.look(3600.0, [ONE]) == []
    assert silence.look(3600.0 + LOOK_S, [ONE]) == []
    decided = [silence.look(3601.0 + s, [ONE]) for s in range(1, 12)]
    assert decided[7] == [(ONE, "ask")]
    assert decided[7 + int(STACK_S)] == [(ONE, "kill")]


def test_nobody_is_ever_stuck_where_that_is_not_asked_for() -> None:
    assert steps_of(Silence(0.0), 1000.0, [ONE], {}) == []


@pytest.mark.parametrize(
    ("longest_s", "most_s", "expected_s"),
    [
        (0.0, 120.0, LEAST_S),  # it waits, or its batches take no time to speak of
        (0.004, 120.0, LEAST_S),
        (0.25, 120.0, 0.25 * TIMES),
        (5.0, 120.0, 120.0),
        (-1.0, 120.0, 120.0),  # a first batch, a checkpoint
        (float("nan"), 120.0, 120.0),
        (float("inf"), 120.0, 120.0),
        (0.004, 1.5, 1.5),
        (-1.0, 1.5, 1.5),
    ],
)
def test_who_is_stuck_when_goes_by_how_long_it_took_before(
    longest_s: float, most_s: float, expected_s: float
) -> None:
    silence = Silence(most_s)
    silence.look(0.0, [ONE])
    silence.hear(ONE, longest_s)
    assert silence.after_s(ONE) == expected_s
    decided = steps_of(silence, 130.0, [ONE], {})
    assert decided == [(expected_s, ONE, "ask"), (expected_s + STACK_S, ONE, "kill")]


def test_over_tcp_a_cut_of_ten_seconds_is_nobodys_standing_still() -> None:
    """What was cut off for 10 s is heard 2.8 s later: tcp asks again 0.2, 0.4, ... 12.8 s on."""
    silence = Silence(120.0, TCP_LEAST_S)
    silence.look(0.0, [ONE])
    silence.hear(ONE, 0.004)
    assert steps_of(silence, 25.0, [ONE], {}) == []
    assert silence.after_s(ONE) == TCP_LEAST_S
    silence.hear(ONE, 0.5)
    assert silence.after_s(ONE) == 50.0


def test_what_was_said_last_counts_and_of_a_replacement_nothing_is_known() -> None:
    silence = Silence(60.0)
    silence.look(0.0, [ONE])
    silence.hear(ONE, 0.001)
    silence.hear(ONE, -1.0)
    assert silence.after_s(ONE) == 60.0
    silence.hear(ONE, 0.001)
    silence.look(1.0, [ONE])
    assert (silence.after_s(ONE), silence.after_s(NEXT)) == (LEAST_S, 60.0)
    silence.look(2.0, [NEXT])
    assert silence.after_s(ONE) == 60.0
