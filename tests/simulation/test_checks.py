"""What is checked of checkpoints, read by hand, is what their shards hold."""

from __future__ import annotations

from pathlib import Path

import torch

from dni_async.files.shards import Shard, pack, read_shard
from tests.simulation.checks import _cut_and_applied


def test_what_is_read_by_hand_is_what_is_loaded(tmp_path: Path) -> None:
    applied = torch.tensor([1, 2, 0, 300, 0], dtype=torch.int16)
    rng = torch.arange(7, dtype=torch.uint8)  # before it, and of an odd length
    tensors = {"rng/cpu": rng, "weights/3.weight": applied, "weights/4.weight": applied + 1}
    shard = Shard(tensors, {"cut": [4, 2, 1]})
    path = tmp_path / "stage-0.safetensors"
    path.write_bytes(b"".join(pack(shard)))
    cut, read = _cut_and_applied(path)
    loaded = read_shard(path)
    assert cut == tuple(loaded.facts["cut"]) == (4, 2, 1)
    assert [list(each) for each in read] == [[1, 2, 0, 300, 0], [2, 3, 1, 301, 1]]
    assert loaded.tensors["weights/4.weight"].tolist() == [2, 3, 1, 301, 1]
