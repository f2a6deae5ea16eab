"""Layers that move again and again in one simulated run: nothing is lost or learnt twice."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tests.simulation.run import simulate
from tests.simulation.scenario import Death, Scenario

STAGES, LAYERS, EPOCHS = 4, 12, 4


def many_moves(count: int, *, seed: int, deaths: tuple[Death, ...] = ()) -> Scenario:
    """A run of two batches for each move; where layers go to is drawn."""
    chance = random.Random(seed)
    moves = []
    for number in range(count):
        inner = sorted(chance.sample(range(1, LAYERS), STAGES - 1))
        counts = (str(end - first) for first, end in pairwise([0, *inner, LAYERS]))
        moves.append(f"{2 * number + 1}:{'+'.join(counts)}")
    return Scenario(
        seed=seed,
        num_stages=STAGES,
        num_layers=LAYERS,
        epochs=EPOCHS,
        train_batches=-(-(2 * count + 2) // EPOCHS),
        window=4,
        moves=tuple(moves),
        deaths=deaths,
        settings={"rule": "dni"},
        speeds=(0.001,) * STAGES,
        losses=(1.0,) * EPOCHS,
    )


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_random_moves_one_after_another_lose_nothing(count: int) -> None:
    """What is checked of every run is checked here: each batch passes each layer once, in order."""
    outcome = simulate(many_moves(count, seed=count))
    assert (outcome.moves, outcome.lost, outcome.missing) == (count, 0, [])
