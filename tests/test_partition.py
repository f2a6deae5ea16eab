"""Layers into stages, devices over stages: contiguous, complete, as even as can be."""

from __future__ import annotations

import re
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dni_async import ConfigError
from dni_async.partition import balance_layers, deal_devices, split_layers


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
    ("seconds", "num_stages", "ranges"),
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
    seconds: list[float], num_stages: int, ranges: list[tuple[int, int]]
) -> None:
    def dearest(cut: list[tuple[int, int]]) -> float:
        return max(sum(seconds[first:end]) for first, end in cut)

    found = balance_layers(seconds, num_stages)
    assert dearest(found) == dearest(ranges)
    assert [first for first, _ in found] == [0, *[end for _, end in found[:-1]]]
    assert found[-1][1] == len(seconds)
    assert all(first < end for first, end in found)


def test_no_more_stages_than_layers_can_be_balanced() -> None:
    with pytest.raises(ConfigError, match="3 stages"):
        balance_layers([1.0, 1.0], 3)
