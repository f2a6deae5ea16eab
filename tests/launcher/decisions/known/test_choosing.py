"""Where layers are to move, held against all cuts that there are."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import pytest

from dni_async.launcher.decisions.known.choosing import Layers, LayerWork, choose, least_s

EVEN: Layers = ((0, 4), (4, 8), (8, 12), (12, 16))


def test_the_example_of_the_page() -> None:
    """16 equal layers in four workers, of which one has become four times slower: 13 layers' work
    for 3.25 workers, so five for each and one for it.
    """
    work = LayerWork([1.0] * 16, [True] * 16)
    choice = choose(work, EVEN, [4.0, 16.0, 4.0, 4.0])
    assert [end - first for first, end in choice.layers] == [5, 1, 5, 5]
    assert (choice.before_s, choice.after_s) == (16.0, 5.0)
    assert choice.gain == 3.2
    assert least_s(work, EVEN, [4.0, 16.0, 4.0, 4.0]) == pytest.approx(16 / 3.25)


def test_where_nothing_is_to_be_gained_nothing_moves() -> None:
    work = LayerWork([1.0] * 16, [True] * 16)
    assert choose(work, EVEN, [4.0, 4.1, 3.9, 4.0]).layers == EVEN


def test_no_stage_ends_where_none_may() -> None:
    work = LayerWork([1.0] * 6, [True, False, True, False, True, True])
    choice = choose(work, ((0, 3), (3, 6)), [3.0, 9.0])
    assert choice.layers == ((0, 5), (5, 6))


def test_of_all_cuts_the_best_by_which_the_fewest_layers_move() -> None:
    draw = random.Random(0)
    for _ in range(200):
        num_layers, num_stages = draw.randint(3, 8), draw.randint(2, 3)
        costs = [draw.choice((1.0, 2.0, 3.0)) for _ in range(num_layers)]
        may_end = [draw.random() < 0.8 for _ in range(num_layers)]
        cuts = [
            tuple(pairwise([0, *bounds, num_layers]))
            for bounds in combinations(range(1, num_layers), num_stages - 1)
            if all(may_end[bound - 1] for bound in bounds)
        ]
        if not cuts:
            continue
        layers = draw.choice(cuts)
        speeds = [draw.choice((1.0, 2.0, 4.0)) for _ in range(num_stages)]

        def slowest(cut: Layers, speeds: list[float] = speeds, costs: list[float] = costs) -> float:
            return max(s * sum(costs[f:e]) for s, (f, e) in zip(speeds, cut, strict=True))

        def moved(cut: Layers, layers: Layers = layers) -> int:
            return sum(abs(new[1] - old[1]) for new, old in zip(cut, layers, strict=True))

        stage_s = [s * sum(costs[f:e]) for s, (f, e) in zip(speeds, layers, strict=True)]
        choice = choose(LayerWork(costs, may_end), layers, stage_s)
        assert choice.after_s == pytest.approx(min(map(slowest, cuts)))
        assert slowest(choice.layers) == pytest.approx(choice.after_s)
        assert least_s(LayerWork(costs, may_end), layers, stage_s) <= choice.after_s + 1e-9
        equal = [cut for cut in cuts if slowest(cut) == pytest.approx(choice.after_s)]
        assert moved(choice.layers) <= min(map(moved, equal)) + num_layers  # ties alone are kept
