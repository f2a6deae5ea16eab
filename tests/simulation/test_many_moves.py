"""Layers that move again and again in one simulated run: nothing is lost or learnt twice."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.simulation.run import simulate
from tests.simulation.scenario import Death, Role, Scenario

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


ROLES: tuple[Role, ...] = ("worker", "worker", "worker", "launcher", "fork server", "machine")


@pytest.mark.parametrize(
    "seed", [1000, 1001, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1002, 1120))]
)
def test_random_moves_outlive_deaths_at_random_moments(seed: int) -> None:
    """What is lost was in flight, and no more of it than is promised: that is checked of each."""
    chance = random.Random(seed)
    deaths = tuple(
        Death(role=chance.choice(ROLES), stage=chance.randint(0, 3), work=chance.random())
        for _ in range(chance.randint(1, 8))
    )
    settings = {"rule": chance.choice(("dni", "dgl", "backprop"))}
    outcome = simulate(replace(many_moves(30, seed=seed, deaths=deaths), settings=settings))
    assert outcome.moves > 0
    assert outcome.missing == []
