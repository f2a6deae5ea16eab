"""Layers that move again and again in one real run, after every other batch."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from dni_async.config.run_config import RunConfig
from tests.system.conftest import Launch
from tests.system.test_lockstep import assert_same_weights, train_plainly

pytestmark = pytest.mark.system

LAYERS, STAGES, BATCHES = 8, 4, 15  # of an epoch


def random_moves(count: int, every: int) -> str:
    """As --moves has them: one every so many batches, to anywhere."""
    chance = random.Random(count)
    moves = []
    for number in range(1, count + 1):
        inner = sorted(chance.sample(range(1, LAYERS), STAGES - 1))
        counts = (str(end - first) for first, end in pairwise([0, *inner, LAYERS]))
        moves.append(f"{number * every}:{'+'.join(counts)}")
    return ",".join(moves)


@pytest.mark.parametrize(
    "count", [12, pytest.param(400, marks=[pytest.mark.slow, pytest.mark.timeout(400)])]
)
def test_lockstep_equals_plain_backpropagation_across_random_moves(
    launch: Callable[..., Launch], as_in_a_worker: None, count: int
) -> None:
    """No update is lost or made twice, or a bit would be another one."""
    settings = {
        "layers": LAYERS,
        "width": 64,
        "norm": "none",
        "epochs": 2 * count // BATCHES + 1,
        "batch_size": 100,
    }
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    run = launch(
        *flags, "--rule=backprop", f"--stages={STAGES}", "--partition=even", "--no-baseline",
        "--threads-per-worker=1", f"--moves={random_moves(count, 2)}",
    )  # fmt: skip
    network, _ = train_plainly(RunConfig(rule="backprop", **settings))  # type: ignore[arg-type]
    assert run.end() == 0, run.output
    assert_same_weights(run, network)
    ours = run.report()["runs"][0]
    assert len(ours["moves"]) == count
    assert [epoch["num_samples"] for epoch in ours["epochs"]] == [1437] * settings["epochs"]
    stood = [move["stood_still_seconds"] for move in ours["moves"]]
    print(f"{count} moves in {ours['train_seconds']:.1f} s; the longest took {max(stood):.2f} s")
