"""What several measurements come to, and what is said about the machine."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks.harness.facts import Observation, Spread, why_not
from benchmarks.harness.report import rotated, verdict


def test_a_spread_has_a_middle_and_two_ends() -> None:
    spread = Spread.of([3.0, 1.0, 2.0, math.inf])
    assert (spread.median, spread.least, spread.most) == (2.5, 1.0, math.inf)
    assert spread.to_dict()["values"] == [3.0, 1.0, 2.0, math.inf]
    with pytest.raises(ValueError, match="no measurements"):
        Spread.of([])


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ([2.0], "2.00x faster"),
        ([0.5], "0.50x SLOWER"),
        ([1.5, 0.9, 1.2], "1.20x (0.90-1.50) faster"),
        ([0.7, 0.9, 1.2], "0.90x (0.70-1.20) SLOWER"),
    ],
)
def test_a_loss_is_called_a_loss(factors: list[float], words: str) -> None:
    assert verdict(Spread.of(factors), None) == words
    assert verdict(Spread.of(factors), "others are at work") == "not comparable"


@pytest.mark.parametrize(
    ("others", "load", "reason"),
    [
        (0.0, 9.0, None),
        (0.19, 9.0, None),
        (0.2, 0.0, "other programs kept 0.2 of 2 cores busy meanwhile"),
        (None, 0.9, None),
        (None, 1.0, "1.0 processes wanted 2 cores before it"),
    ],
)
def test_others_that_take_a_tenth_of_the_cores_leave_no_ratio(
    others: float | None, load: float, reason: str | None
) -> None:
    assert why_not(others, load, cores=2) == reason


def test_every_arm_goes_first_in_its_turn() -> None:
    rounds = [rotated("abc", number) for number in range(4)]
    assert ["".join(each) for each in rounds] == ["abc", "bca", "cab", "abc"]


def test_facts_are_plain_and_shares_are_shares() -> None:
    facts = Observation().facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cores"] >= 1
    for name in ("steal_share", "busy_share"):
        assert facts[name] is None or 0 <= facts[name] <= 1
