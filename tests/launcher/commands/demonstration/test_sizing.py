"""The demo fits the machine: its cores, its memory and its speed."""

from __future__ import annotations

from typing import Any

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.launcher.commands.demonstration.sizing import (
    EVALUATE_EVERY,
    LEAST_TRAINING_S,
    ONE_THREAD_S,
    Machine,
    Size,
    second_epochs,
    sized,
    unkillable,
)

GB = 2**30
FAST_S = 0.02  # for a layer, of the machines that the figures in the docs are of


@pytest.mark.parametrize(
    ("cores", "layers"), [(1, 3), (2, 4), (4, 6), (6, 8), (8, 8), (16, 8), (64, 8)]
)
def test_every_core_has_a_layer_that_is_worth_one(cores: int, layers: int) -> None:
    assert sized(Machine(cores, 16 * GB, FAST_S)).layers == layers


def test_two_fast_cores_train_wide_and_long() -> None:
    assert sized(Machine(2, None, FAST_S)) == Size(layers=4, width=1024, epochs=20)


@pytest.mark.parametrize("cores", [1, 2, 4, 8, 64])
@pytest.mark.parametrize("layer_s", [0.001, 0.02, 0.1, 0.3, 5.0])
def test_whatever_the_machine_it_is_a_run_that_ends_in_time(cores: int, layer_s: float) -> None:
    """But on one a hundred times slower, where it is as small as it gets."""
    machine = Machine(cores, 16 * GB, layer_s)
    size = sized(machine)
    RunConfig(**size.settings())
    assert size.one_thread_s(machine) <= ONE_THREAD_S or (size.width, size.epochs) == (256, 10)


def test_a_slower_machine_gets_no_more_to_do() -> None:
    sizes = [sized(Machine(2, None, layer_s)) for layer_s in (0.01, 0.03, 0.05, 0.1, 0.2)]
    work = [size.one_thread_s(Machine(2, None, 1.0)) for size in sizes]
    assert work == sorted(work, reverse=True)
    assert len(set(work)) > 2


@pytest.mark.parametrize(("available", "layers"), [(16 * GB, 8), (900 * 2**20, 4), (0, 2)])
def test_little_memory_has_fewer_workers_of_small_layers(available: int, layers: int) -> None:
    size = sized(Machine(8, available, FAST_S))
    assert size.layers == layers
    assert size.width <= 512 or available > GB


@pytest.mark.parametrize("train_s", [0.0, 0.01, 0.4, 1.0, 2.9])
def test_the_second_act_trains_long_enough_to_be_killed_in(train_s: float) -> None:
    epochs = second_epochs(20, train_s)
    assert epochs % EVALUATE_EVERY == 0
    assert epochs > 20
    assert epochs * train_s / 20 >= LEAST_TRAINING_S or epochs == 2000


@pytest.mark.parametrize(
    ("settings", "num_stages", "why"),
    [
        ({}, 4, None),
        ({"rule": "fdg"}, 4, None),
        ({"max_restarts": 0}, 4, "--max-restarts 0"),
        ({"rule": "backprop"}, 4, "rule backprop"),
        ({"unlock": "forward"}, 4, None),
        ({}, 1, "only one worker"),
    ],
    ids=["default", "fdg", "no-restarts", "backprop", "forward", "one"],
)
def test_nobody_is_killed_who_would_not_be_replaced(
    settings: dict[str, Any], num_stages: int, why: str | None
) -> None:
    obstacle = unkillable(RunConfig(**settings), num_stages)
    assert obstacle is None if why is None else why in (obstacle or "")


def test_the_second_act_is_as_long_as_the_first_where_that_is_long_enough() -> None:
    assert second_epochs(7, LEAST_TRAINING_S) == 7
