"""What is in a shard, one stage's file of a checkpoint, and how shards are cut anew.

Tensors lie under ``KIND/NAME`` where NAME is the whole network's name of a parameter or buffer
(``weights/0.weight``, ``first_moment/0.weight``), and those of a synthesizer under
``synthesizer-K/...`` or ``input-K/...``, K the layer that it stands above or below. So neither
depends on how the layers were grouped into stages. All else is plain values (facts).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch

from dni_async.errors import CheckpointError
from dni_async.files.checkpoint import read_manifest
from dni_async.files.reading import check_regular

__all__ = ["GATHERED", "OPTIMIZER", "RNG", "Shard", "cut_anew", "pack", "read_part", "read_shard"]

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
GATHERED = "gathered"  # kind of the sums of gradients that will make one update
RNG = "rng"  # kind of the states of torch's generators
OPTIMIZER = "optimizer"  # kind of what one of the user's own remembers of a parameter


@dataclass(frozen=True, slots=True)
class Shard:
    """tensors on the CPU. facts, JSON values:

    layers: child of the network -> its layer. cut: batch_id, epoch, index. stage: its counts of
    updates, and what it alone can go on from. own: what modules keep beside their weights, by name,
    with tensors under ``own/NAME``. optimizer: what one of the user's own remembers of parameters,
    by name, with tensors under ``optimizer/NAME``, and of groups. boundaries: of each synthesizer,
    by the layer that it stands above, the shape it was made for and what it was compared with. run:
    what the source and the head know of the running epoch, and every stage of its curve.
    """

    tensors: Mapping[str, torch.Tensor]
    facts: Mapping[str, Any]


def pack(shard: Shard) -> list[memoryview]:
    """The content of a safetensors file in parts: its header, then each tensor where it lies.

    safetensors.torch.save copies every tensor twice with Python's lock held: 40 ms for 12 MB, in
    which a worker does not train.
    """
    header: dict[str, Any] = {"__metadata__": {"facts": json.dumps(shard.facts)}}
    parts, end = [], 0
    for name, tensor in shard.tensors.items():
        flat = tensor.contiguous().reshape(-1).view(torch.uint8)
        begin, end = end, end + flat.numel()
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
        parts.append(flat.numpy().data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return [memoryview(len(text).to_bytes(8, "little") + text), *parts]


def read_shard(path: Path) -> Shard:
    """Read a file that pack made. Raises CheckpointError if it is none."""
    try:
        check_regular(path)
        with safetensors.safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
            if not isinstance(facts, dict):
                raise ValueError("its facts are no JSON object")
            return Shard({name: file.get_tensor(name) for name in file.keys()}, facts)  # noqa: SIM118
    except (OSError, ValueError, KeyError, RecursionError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: is no shard of a checkpoint: {error}") from error


def read_part(path: Path, layers: tuple[int, int]) -> Shard:
    """What a stage of these layers, half-open, starts from: its shard, at path, or its part of the
    checkpoint in that folder, whose stages may have held others.

    Raises CheckpointError if that is none.
    """
    if not path.is_dir():
        return read_shard(path)
    manifest, (first, end) = read_manifest(path), layers
    last = len(manifest.shards) - 1
    stages = [
        stage
        for stage, shard in enumerate(manifest.shards)
        if stage in (0, last) or (shard.first_layer < end and first < shard.end_layer)
    ]  # the ends of the line know of the run
    return cut_anew([read_shard(manifest.path(stage)) for stage in stages], [layers])[0]


def cut_anew(shards: Sequence[Shard], ranges: Sequence[tuple[int, int]]) -> list[Shard]:
    """The shards of a run whose stages hold other layers, half-open ranges.

    Weights, what optimizers remember and synthesizers go with their layers; a boundary where none
    was begins without a synthesizer, and one that is gone drops it. A stage counts the updates
    and the gathered gradients of the old stage that held its first layer. Random numbers begin
    anew, and so does what a rule remembers.
    """
    layers = {child: layer for shard in shards for child, layer in shard.facts["layers"].items()}
    return [_part(shards, layers, first, end) for first, end in ranges]


def _part(shards: Sequence[Shard], layers: Mapping[str, int], first: int, end: int) -> Shard:
    children = {child: layer for child, layer in layers.items() if first <= layer < end}
    tensors: dict[str, torch.Tensor] = {}
    boundaries: dict[str, Any] = {}
    for shard in shards:
        for name, tensor in shard.tensors.items():
            if _belongs(name, children, first, end):
                tensors[name] = tensor
        boundaries |= shard.facts["boundaries"]
    holder = {layer: shard for shard in shards for layer in shard.facts["layers"].values()}[first]
    known = holder.facts["stage"]
    counts = {name: known[name] for name in ("updates", "scheduled", GATHERED) if name in known}
    facts = {
        "layers": children,
        "cut": holder.facts["cut"],
        "stage": counts,
        "own": {
            name: value
            for shard in shards
            for name, value in shard.facts.get("own", {}).items()
            if _lies_in(name, children)
        },
        "optimizer": _optimizers(shards, holder, children),
        "boundaries": boundaries,
        "run": {**shards[0].facts["run"], **shards[-1].facts["run"]},
    }
    return Shard(tensors, facts)


def _optimizers(
    shards: Sequence[Shard], holder: Shard, children: Mapping[str, int]
) -> dict[str, Any]:
    """What is remembered of the parameters of children; of a group as the holder has it, if so."""
    told = [shard.facts.get("optimizer", {}) for shard in (*shards, holder)]
    parameters = {
        name: value
        for each in told
        for name, value in each.get("parameters", {}).items()
        if _lies_in(name, children)
    }
    groups = {key: value for each in told for key, value in each.get("groups", {}).items()}
    return {"parameters": parameters, "groups": groups}


def _belongs(name: str, children: Mapping[str, int], first: int, end: int) -> bool:
    kind, _, rest = name.partition("/")
    base, _, layer = kind.partition("-")
    if base == "synthesizer":
        return int(layer) == end - 1
    if base == "input":
        return int(layer) == first
    return kind != RNG and _lies_in(rest.partition("/")[0], children)


def _lies_in(name: str, children: Mapping[str, int]) -> bool:
    """Whether name is one of children, or of something in one."""
    parts = name.split(".")
    return any(".".join(parts[:end]) in children for end in range(1, len(parts) + 1))
