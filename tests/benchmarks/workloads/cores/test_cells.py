"""Ratios, times to quality and what is carried on, of rounds with shares of a core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.workloads.cores.cases import Case
from benchmarks.workloads.cores.foretold import carry_on, foretell_all
from benchmarks.workloads.cores.rounds import Cell, Chosen, seconds_to_goal

STAGE = {"forward_s": 0.5, "update_s": 0.5, "head_start_s": 0.0, "anchor_s": 0.0, "learn_s": 0.0}
LINK = {
    "size_bytes": 1,
    "latency_s": 0.0,
    "lower_cpu_s": 0.0,
    "upper_cpu_s": 0.0,
    "message_s": 0.0,
}


def run(rate: float, reason: str | None = None) -> dict[str, Any]:
    """One run of an arm, as far as it matters here."""
    return {"samples_per_second": rate, "not_comparable": reason, "busy_share": 0.5}


def cell(num_cores: int, rounds: list[dict[str, Any]], share: float = 0.5) -> Cell:
    """A cell that has been measured."""
    return Cell(Case("mlp", num_cores, batch_size=100), share, 64, rounds=rounds)


def test_a_ratio_is_of_rounds_in_which_all_had_their_shares() -> None:
    measured = cell(
        4,
        [
            {"dni": run(30), "one-core": run(10)},
            {"dni": run(90, "all cores were busy"), "one-core": run(10)},
            {"dni": run(50), "one-core": run(10)},
        ],
    )
    factor = measured.over("one-core")
    assert factor is not None
    assert factor.values == (3.0, 5.0)
    measured.rounds = measured.rounds[1:2]
    assert measured.over("one-core") is None
    assert measured.why_not("one-core") == "all cores were busy"
    assert measured.to_dict()["arms"]["one-core"]["dni_over_it"] is None


def test_an_arm_that_failed_once_is_not_among_the_arms() -> None:
    rounds = [{"dni": run(30), "1f1b": run(10)}, {"dni": run(30)}]
    assert cell(4, rounds).arms == ["dni"]


def test_rivals_train_on_fewer_batches_but_not_on_few() -> None:
    measured = cell(4, [])
    assert [measured.batches_of(arm) for arm in ("dni", "1f1b")] == [64, 16]
    assert cell(16, []).batches_of("one-core") == 6


def test_what_was_measured_before_is_gone_on_with() -> None:
    before = cell(4, [{"dni": run(30)}])
    before.chosen = Chosen(8, "spin")
    after = cell(4, [])
    after.take(before.to_dict())
    assert (after.rounds, after.chosen) == (before.rounds, before.chosen)


def test_seconds_to_quality_are_those_of_whole_epochs_at_the_rate() -> None:
    learnt: dict[str, Any] = {
        "num_samples": 1000,
        "dni": [[2.0, 0.5, 0.90], [2.5, 0.4, 0.976], [3.0, 0.3, 0.98]],
        "backprop": [[1.0, 0.5, 0.95], [1.0, 0.4, 0.97], [1.0, 0.3, 0.98]],
    }
    assert seconds_to_goal(500.0, learnt, is_ours=True) == 4.0
    assert seconds_to_goal(100.0, learnt, is_ours=False) == 30.0
    learnt["dni"] = learnt["dni"][:1]
    assert seconds_to_goal(500.0, learnt, is_ours=True) is None


def test_the_curve_goes_on_by_what_a_layer_more_takes() -> None:
    """A core takes 3 s a layer for a batch of 100; each stage of ours 1 s, and links nothing."""
    cells = [
        cell(count, [{"dni": run(50), "one-core": run(0.5 * 100 / (3 * count))}])
        for count in (4, 8)
    ]
    for each in cells:
        each.foretold = {
            "window": 4,
            "anchor_every": 0,
            "parts": [{"batch_s": 1.0, "cost": dict(STAGE)}] * each.case.num_cores,
            "links": {"link-slots": dict(LINK), "link-tcp": dict(LINK)},
        }
    points = {point["cores"]: point["dni_over_one_core"] for point in carry_on(cells)}
    assert points == pytest.approx({32: 96.0, 64: 192.0, 128: 384.0})
    assert carry_on(cells[:1]) == []


def test_what_the_parts_do_not_show_is_taken_from_the_shortest_line() -> None:
    """A part takes 1 s; a batch of 100 took a worker with half a core 2.5 s: 0.25 s beyond it."""
    cells = [cell(count, [{"dni": run(100 / 2.5)}]) for count in (2, 4)]
    for each in cells:
        each.batches = 1_000  # filling the line is next to nothing
        stages = [{"batch_s": 1.0, "cost": STAGE | {"head_start_s": 0.5}}] * each.case.num_cores
        each.parts = [{"stages": stages, "links": {"link-slots": LINK, "link-tcp": LINK}}]
    foretell_all(cells)
    shortest, longer = (each.foretold or {} for each in cells)
    assert (shortest["beyond_s"], shortest["error"]) == pytest.approx((0.0, 0.25), abs=0.01)
    assert (longer["beyond_s"], longer["error"]) == pytest.approx((0.25, 0.0), abs=0.01)


@pytest.mark.parametrize(
    ("case", "name", "layers"),
    [
        (Case("mlp", 4), "784-1024x3-10, batch 256", 4),
        (Case("equal", 4), "1024-1024x4-10, batch 256", 5),
        (Case("mlp", 2, data="digits", layers=3, width=8), "64-8x2-10, batch 256", 3),
    ],
)
def test_a_case_says_what_it_trains(case: Case, name: str, layers: int) -> None:
    config = case.config(Path("samples.npz"), epochs=2)
    assert (case.name, config.layers, config.num_stages) == (name, layers, case.num_cores)
