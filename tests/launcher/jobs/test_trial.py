"""Which candidate of --rule auto is taken, and what is said of it."""

from __future__ import annotations

import math

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.launcher.jobs.trial import Trial, better_half, chosen, outcome


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, ["a", "b"]),
        ({"a": 4.0, "b": 2.0, "c": 3.0, "d": 1.0}, ["a", "b", "d"]),  # the first always goes on
        ({"a": 1.0, "b": 3.0, "c": 2.0}, ["a", "c"]),
        ({"a": 5.0}, ["a"]),
    ],
    ids=["first is best", "first is last", "odd", "alone"],
)
def test_the_better_half_goes_on(losses: dict[str, float], expected: list[str]) -> None:
    assert better_half(losses) == expected


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({"a": 1.0, "b": 0.995}, "a"),
        ({"a": 1.0, "b": 0.98}, "b"),
        ({"a": 1.0, "b": 0.98, "c": 0.979}, "c"),
        ({"a": 0.0, "b": 0.0}, "a"),
    ],
)
def test_the_first_is_taken_unless_another_is_better_by_more_than_a_hundredth(
    losses: dict[str, float], expected: str
) -> None:
    assert chosen(losses) == expected


def trial(name: str, *losses: float, left: bool = False, failed: str = "") -> Trial:
    made = Trial(name, RunConfig())
    for loss in losses:
        made.hear({"loss": loss, "seconds": 0.5})
    made.is_left, made.failed = left, made.failed or failed
    return made


def test_what_is_told_of_all() -> None:
    trials = [
        trial("dni", 2.0, 1.0, 0.5),
        trial("dgl", 2.5, left=True),
        trial("fdg", 1.5, 0.75, 0.25),
        trial("other", failed="it raised"),
    ]
    choice, taken = outcome(trials, 10)
    assert taken.name == choice["taken"] == "fdg"
    assert choice["sentence"] == (
        "rule auto: fdg, with loss 0.25 on training samples held back after 30 updates; dni 0.5, "
        "dgl 2.5 after 10, other failed (it raised)"
    )
    assert choice["candidates"][2] == {
        "name": "fdg",
        "updates": 30,
        "losses": [1.5, 0.75, 0.25],
        "ms_per_update": 50.0,
        "failed": None,
    }


def test_where_time_ran_out_all_are_judged_after_as_many_updates() -> None:
    choice, taken = outcome([trial("dni", 2.0, 1.0), trial("fdg", 1.5)], 10, ran_out=True)
    assert taken.name == "fdg"
    assert choice["sentence"].endswith("after 10 updates, when time ran out; dni 2")


def test_one_that_diverges_is_not_taken_and_the_default_is_where_none_came_to_anything() -> None:
    choice, taken = outcome([trial("dni", 2.0), trial("fdg", math.nan)], 10)
    assert taken.name == "dni"
    assert choice["candidates"][1]["losses"] == [None]
    choice, taken = outcome([trial("dni"), trial("fdg")], 10)
    assert taken.name == "dni"
    assert choice["sentence"] == ("rule auto: dni, as no trial came to anything; fdg not tried")


def test_where_nothing_is_tried_it_says_why() -> None:
    choice, taken = outcome([trial("dni"), trial("fdg")], 0, "as one stage has no boundary")
    assert taken.name == "dni"
    assert choice["sentence"] == "rule auto: dni, as one stage has no boundary"
