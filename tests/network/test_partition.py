"""Layers into stages, devices over stages: contiguous, complete, as even as can be."""

from __future__ import annotations

import re
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dni_async import ConfigError
from dni_async.network.partition import (
    HANDOVER_S,
    LayerCost,
    balance_layers,
    choose_cut,
    deal_devices,
    split_layers,
    stage_seconds,
)


@given(num_stages=st.integers(1, 40), more_layers=st.integers(0, 100))
def test_ranges_cover_all_layers_evenly(num_stages: int, more_layers: int) -> None:
    num_layers = num_stages + more_layers
    ranges = split_layers(num_layers, num_stages)
    sizes = [end - first for first, end in ranges]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == num_layers
    assert all(below[1] == above[0] for below, above in pairwise(ranges))
    assert len(ranges) == num_stages
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


def test_one_layer_per_stage_is_the_default() -> None:
    assert split_layers(3, None) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize(("num_layers", "num_stages"), [(3, 4), (3, 0), (0, None)])
def test_stages_that_cannot_be_filled(num_layers: int, num_stages: int | None) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"but there are {num_layers}")):
        split_layers(num_layers, num_stages)


@given(num_devices=st.integers(1, 12), num_stages=st.integers(1, 30))
def test_devices_hold_contiguous_groups_of_near_equal_size(
    num_devices: int, num_stages: int
) -> None:
    devices = [f"cuda:{index}" for index in range(num_devices)]
    dealt = deal_devices(devices, num_stages)
    groups = [(device, len(list(stages))) for device, stages in groupby(dealt)]
    sizes = [size for _, size in groups]
    assert [device for device, _ in groups] == devices[:num_stages]
    assert sum(sizes) == num_stages
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("devices", "num_stages", "dealt"),
    [
        (["cpu"], 3, ["cpu", "cpu", "cpu"]),
        (["a", "b"], 4, ["a", "a", "b", "b"]),
        (["a", "b"], 3, ["a", "a", "b"]),
        (["a", "b", "c"], 2, ["a", "b"]),
        (["a", "a"], 2, ["a", "a"]),
    ],
)
def test_deals(devices: list[str], num_stages: int, dealt: list[str]) -> None:
    assert deal_devices(devices, num_stages) == dealt


@pytest.mark.parametrize(
    ("own", "num_stages", "ranges"),
    [
        ([1, 1, 1, 1], 2, [(0, 2), (2, 4)]),
        ([4, 1, 1, 1], 2, [(0, 1), (1, 4)]),
        ([1, 1, 1, 4], 2, [(0, 3), (3, 4)]),
        ([2, 3, 3, 1], 3, [(0, 1), (1, 2), (2, 4)]),
        ([5, 1, 5, 1, 1, 1], 3, [(0, 1), (1, 3), (3, 6)]),
        ([0, 0, 0], 3, [(0, 1), (1, 2), (2, 3)]),
        ([7], 1, [(0, 1)]),
    ],
)
def test_the_dearest_stage_is_as_cheap_as_can_be(
    own: list[float], num_stages: int, ranges: list[tuple[int, int]]
) -> None:
    def dearest(cut: list[tuple[int, int]]) -> float:
        return max(sum(own[first:end]) for first, end in cut)

    found = balance_layers([LayerCost(each) for each in own], num_stages)
    assert dearest(found) == dearest(ranges)
    assert [first for first, _ in found] == [0, *[end for _, end in found[:-1]]]
    assert found[-1][1] == len(own)
    assert all(first < end for first, end in found)


def test_no_more_stages_than_layers_can_be_balanced() -> None:
    with pytest.raises(ConfigError, match="3 stages"):
        balance_layers([LayerCost(1.0), LayerCost(1.0)], 3)


@pytest.mark.parametrize(
    ("costs", "returns_all", "ranges"),
    [
        # A layer that is not its stage's lowest computes the gradient of its inputs as well.
        (
            [LayerCost(1), LayerCost(1, 2), LayerCost(1, 0), LayerCost(1, 0)],
            False,
            [(0, 1), (1, 4)],
        ),
        ([LayerCost(1), LayerCost(1, 2), LayerCost(1, 0), LayerCost(1, 0)], True, [(0, 2), (2, 4)]),
        # The lowest stage has nobody to return a gradient to.
        ([LayerCost(2, 9), LayerCost(1, 1), LayerCost(1, 1)], True, [(0, 1), (1, 3)]),
        # A synthesizer is paid for where a stage ends, but not by the last one.
        ([LayerCost(2, 0, 3), LayerCost(1, 0, 0), LayerCost(2, 0, 9)], False, [(0, 2), (2, 3)]),
    ],
)
def test_what_a_layer_takes_depends_on_where_its_stage_begins_and_ends(
    costs: list[LayerCost], returns_all: bool, ranges: list[tuple[int, int]]
) -> None:
    assert balance_layers(costs, 2, returns_all=returns_all) == ranges


def test_what_stages_take_is_told() -> None:
    costs = [LayerCost(1, 9, 0.5), LayerCost(2, 3, 0.25), LayerCost(4, 5, 9)]
    assert stage_seconds(costs, [(0, 2), (2, 3)]) == [6.25, 4]
    assert stage_seconds(costs, [(0, 2), (2, 3)], returns_all=True) == [6.25, 9]
    assert stage_seconds(costs, [(0, 1), (1, 3)], returns_all=True) == [1.5, 14]


EVEN = [LayerCost(1.0, 0.5, 0.1)] * 4
SMALL = [LayerCost(HANDOVER_S / 10)] * 4


@pytest.mark.parametrize(
    ("costs", "cores", "num_stages", "batch_s"),
    [
        (EVEN, 2, 4, (4.3 + 3 * HANDOVER_S) / 2),  # against 2 stages of 2.6 and 2.5
        (EVEN, 4, 4, (1.1)),
        (EVEN, 16, 4, (1.1)),  # no more stages than layers, and no core for nothing
        (SMALL, 2, 2, (0.4 * HANDOVER_S + HANDOVER_S) / 2),
        (SMALL, 3, 3, 0.8 * HANDOVER_S),
        (SMALL, 1, 2, 1.4 * HANDOVER_S),  # one stage would be no line
        ([LayerCost(9.0), *SMALL], 2, 2, 9.0),  # bound by its slowest stage
        ([LayerCost(1.0)], 2, 1, 1.0),
    ],
)
def test_the_fastest_line_is_chosen(
    costs: list[LayerCost], cores: int, num_stages: int, batch_s: float
) -> None:
    chosen, weighed = choose_cut(costs, cores)
    assert len(chosen.ranges) == len(chosen.stage_s) == num_stages
    assert chosen.batch_s == pytest.approx(batch_s)
    least = min(len(costs), max(2, cores))
    assert [len(cut.ranges) for cut in weighed] == list(range(least, len(costs) + 1))
    assert chosen.batch_s == min(cut.batch_s for cut in weighed)
    for cut in weighed:
        assert cut.ranges[0][0] == 0
        assert cut.ranges[-1][1] == len(costs)


def test_many_layers_can_be_cut() -> None:
    chosen, weighed = choose_cut([LayerCost(0.001)] * 128, 2)
    assert len(weighed) == 127
    assert len(chosen.ranges) == 2
