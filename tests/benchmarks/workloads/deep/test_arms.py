"""An arm is a name and options of dni-launch; its reference has all of them that are no rule's."""

from __future__ import annotations

import pytest

from benchmarks.workloads.deep.arms import arm_of
from benchmarks.workloads.deep.entries import Entry
from benchmarks.workloads.deep.rows import ROWS
from dni_async.errors import ConfigError


def test_flags_are_those_of_a_run_and_only_what_is_said_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DNI_LR", "0.5")
    arm = arm_of("late: --rule fdg --optimizer sgd --gradient-shrink .5 --watch a.b:c", "3,2,1")
    assert (arm.label, arm.watch) == ("late, delay 3,2,1", "a.b:c")
    assert arm.settings == {"rule": "fdg", "optimizer": "sgd", "gradient_shrink": 0.5}
    assert arm.reference.settings == {"rule": "backprop", "optimizer": "sgd"}
    assert arm.reference.label == "backprop, optimizer=sgd"
    assert arm_of("default:").reference.label == "backprop"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--rule dgl", "is not like 'NAME: --rule dgl'"),
        ("x: --rulle dgl", "arm 'x': No such option"),
        ("x: --targets 'a", "arm 'x': No closing quotation"),
    ],
)
def test_what_is_no_arm_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        arm_of(text)


def result(error: float, *, seconds: float = 1.0) -> dict[str, object]:
    """Two epochs, of which the second one ends at error."""
    first = {"seconds": seconds, "error": 2 * error, "loss": 1.0}
    return {"epochs": [first, first | {"error": error}]}


def test_an_entry_is_judged_by_its_reference() -> None:
    row = next(row for row in ROWS if row.name == "ResNet 8, 4 stages")  # at most 0.5 behind
    arm = arm_of("default:")
    plain = Entry(row, arm.reference, {})
    ours = Entry(row, arm, {}, plain, grid={0.1: 3.0, 0.2: 2.0, 0.3: float("inf")})
    assert (ours.lr, ours.verdict) == (0.2, "")
    plain.seeds, ours.seeds = [result(40.0), result(42.0)], [result(41.0), result(42.25)]
    plain.arithmetic, ours.arithmetic = {"forward": 2.0, "backward": 2.0}, {"forward": 3.0}
    assert (ours.behind, ours.verdict, ours.work) == (0.625, "+0.50: MISSED", 0.75)
    ours.seeds[1] = result(41.5)
    assert (ours.behind, ours.verdict) == (0.25, "+0.50: met")
    assert ours.seconds_to_goal == [None, 2.0]  # 41 is not within half a point of 40
    assert ours.to_dict()["grid"][-1] == {"lr": 0.3, "quality": None}


def test_windows_are_as_wide_as_the_delays_ask_for() -> None:
    row = next(row for row in ROWS if row.name.startswith("transformer 4"))
    late = Entry(row, arm_of("late: --rule fdg --window 64", "3,2,1"), {})
    order = late.in_order(late.config(1, 0.5, "digits"))
    assert (order["config"]["window"], order["config"]["seed"]) == (4, 1)
    assert order["ranges"] == row.ranges
    plain = Entry(row, late.arm.reference, {})
    order = plain.in_order(plain.config(1, 0.5, "digits"))
    assert (order["config"]["stages"], order["ranges"]) == (1, None)
