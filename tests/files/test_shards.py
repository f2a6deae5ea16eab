"""Shards: what is packed is what is read, and other stages get their layers' part of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dni_async.errors import CheckpointError
from dni_async.files.shards import Shard, cut_anew, pack, read_shard
from dni_async.files.writing import write_whole


def shard(first: int, end: int, **run: float) -> Shard:
    """A stage's shard whose tensors hold the number of their layer; child k is layer k."""
    tensors = {"rng/cpu": torch.zeros(3, dtype=torch.uint8)}
    for layer in range(first, end):
        for kind in ("weights", "first_moment", "gathered"):
            tensors[f"{kind}/{layer}.0.weight"] = torch.full((2, 3), float(layer))
        tensors[f"optimizer/{layer}.0.weight/0"] = torch.full((2, 3), float(layer))
        tensors[f"own/{layer}.0.seen/0"] = torch.full((2,), float(layer))
    tensors[f"synthesizer-{end - 1}/parameter/0"] = torch.full((4,), float(end - 1))
    tensors[f"input-{first}/weights/0.weight"] = torch.full((4,), float(first))
    facts: dict[str, Any] = {
        "layers": {str(layer): layer for layer in range(first, end)},
        "cut": [20, 2, 3],
        "stage": {"updates": 10 + first, "scheduled": 9, "gathered": 1, "rule": None},
        "own": {f"{layer}.0.seen": {"tensor": f"{layer}.0.seen/0"} for layer in range(first, end)},
        "optimizer": {
            "parameters": {
                f"{layer}.0.weight": {"0": {"tensor": f"{layer}.0.weight/0"}}
                for layer in range(first, end)
            },
            "groups": {"0.0": first, f"0.{end}": end},
        },
        "boundaries": {str(end - 1): {"shape": [4]}},
        "run": run,
    }
    return Shard(tensors, facts)


def test_what_is_packed_is_what_is_read(tmp_path: Path) -> None:
    tensors = {
        "weights/0.weight": torch.randn(3, 4).t(),
        "weights/0.bias": torch.randn(3).to(torch.bfloat16),
        "count/0.weight": torch.tensor(7.0),
        "weights/1.num_batches_tracked": torch.tensor(3),
        "weights/1.mask": torch.tensor([True, False, True]),
        "weights/1.nothing": torch.zeros(0, 4),
        "weights/1.half": torch.randn(5).half(),
        "weights/1.double": torch.randn(2).double(),
        "rng/cpu": torch.get_rng_state(),
    }
    facts = {"cut": [1, 2, 3], "stage": {"rule": {"draws": [3, [2**32 - 1]]}}}
    write_whole(tmp_path / "shard", *pack(Shard(tensors, facts)))
    read = read_shard(tmp_path / "shard")
    assert read.facts == facts
    assert read.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(read.tensors[name], tensor)
        assert read.tensors[name].dtype == tensor.dtype


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\x08" + b"\x00" * 7 + b"{}      "])
def test_what_is_no_shard_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stage-3.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(f"{path}: is no shard")):
        read_shard(path)


@pytest.mark.parametrize("ranges", [[(0, 4)], [(0, 1), (1, 4)], [(0, 1), (1, 2), (2, 3), (3, 4)]])
def test_layers_take_their_weights_and_moments_along(ranges: list[tuple[int, int]]) -> None:
    saved = [shard(0, 2, seconds=1.5), shard(2, 4, loss_sum=3.0, num_samples=8)]
    parts = cut_anew(saved, ranges)
    for (first, end), part in zip(ranges, parts, strict=True):
        layers = [f"{layer}.0.weight" for layer in range(first, end)]
        for kind in ("weights", "first_moment"):
            names = sorted(name for name in part.tensors if name.startswith(f"{kind}/"))
            assert names == [f"{kind}/{layer}" for layer in layers]
        for name, tensor in part.tensors.items():
            layer = int(re.findall(r"\d+", name)[0])
            assert torch.equal(tensor, torch.full_like(tensor, layer))
        told = part.facts["optimizer"]
        assert list(told["parameters"]) == layers
        assert told["groups"]["0.0"] == (0 if first < 2 else 2)  # as the first layer's stage had it
        assert part.facts["layers"] == {str(layer): layer for layer in range(first, end)}
        assert part.facts["cut"] == [20, 2, 3]
        assert part.facts["stage"] == {
            "updates": 10 if first < 2 else 12,
            "scheduled": 9,
            "gathered": 1,
        }
    assert parts[0].facts["run"]["seconds"] == 1.5
    assert parts[-1].facts["run"]["num_samples"] == 8


def test_pieces_of_a_network_that_was_split_are_modules_deep_in_it_and_bare_weights() -> None:
    names = {"token": 0, "blocks.0": 0, "blocks.1": 1}
    whole = shard(0, 0)
    tensors = {
        f"{kind}/token{end}": torch.zeros(1) for kind, end in (("weights", ""), ("own", "/0"))
    }
    for name in ("token", "blocks.0.weight", "blocks.1.weight"):
        tensors[f"optimizer/{name}/0"] = torch.zeros(2)
    told = {"parameters": dict.fromkeys(names, 0), "groups": {}}
    facts = {**whole.facts, "layers": names, "boundaries": {}, "optimizer": told}
    lower, upper = cut_anew([Shard(tensors, facts)], [(0, 1), (1, 2)])
    assert sorted(lower.tensors) == [
        "optimizer/blocks.0.weight/0", "optimizer/token/0", "own/token/0", "weights/token",
    ]  # fmt: skip
    assert sorted(upper.tensors) == ["optimizer/blocks.1.weight/0"]
    assert list(lower.facts["optimizer"]["parameters"]) == ["token", "blocks.0"]


def test_a_synthesizer_stays_where_its_boundary_stays_and_nothing_else_is_shared() -> None:
    parts = cut_anew([shard(0, 2), shard(2, 4)], [(0, 1), (1, 2), (2, 4)])
    kept = [sorted(name for name in part.tensors if "-" in name) for part in parts]
    assert kept == [
        ["input-0/weights/0.weight"],
        ["synthesizer-1/parameter/0"],
        ["input-2/weights/0.weight", "synthesizer-3/parameter/0"],
    ]
    assert all("1" in part.facts["boundaries"] for part in parts)
