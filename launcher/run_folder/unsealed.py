"""Checkpoints of which every shard is on disk, but which nobody was left to make whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dni_async.files import names
from dni_async.files.checkpoint import (
    Manifest,
    ShardFile,
    digest_of,
    find_begun,
    partial_folder,
)
from dni_async.files.reading import check_regular

__all__ = ["unsealed"]


def unsealed(root: Path, run: Mapping[str, Any], num_layers: int) -> Iterator[Manifest]:
    """What to seal those with that are newer than every whole checkpoint under root, newest first.

    A shard appears with all of it on disk or not at all. So where there is one of every layer, and
    all are of the same cut, only the manifest is missing, which a launcher writes and which one
    that was killed has not. Its hashes are of what is there now. run: as in a Manifest.
    """
    for batch_id in find_begun(root):
        manifest = _read(root, batch_id, run, num_layers)
        if manifest is not None:
            yield manifest


def _read(root: Path, batch_id: int, run: Mapping[str, Any], num_layers: int) -> Manifest | None:
    """The manifest of a checkpoint that was begun; None if any of it is missing or amiss."""
    partial = partial_folder(root, batch_id)
    shards: list[ShardFile] = []
    cuts: set[tuple[int, int, int]] = set()
    num_files = len(list(partial.glob(names.shard("*"))))
    try:
        for stage in range(num_files):
            path = partial / names.shard(stage)
            cut, layers = _facts(path)
            cuts.add(cut)
            shards.append(ShardFile(min(layers), max(layers) + 1, *digest_of(path)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    ends = [0, *(shard.end_layer for shard in shards)]
    is_complete = ends[-1] == num_layers and ends[:-1] == [shard.first_layer for shard in shards]
    if not is_complete or len(cuts) != 1 or min(cuts)[0] != batch_id:
        return None
    return Manifest(*min(cuts), run, tuple(shards), root / str(batch_id))


def _facts(path: Path) -> tuple[tuple[int, int, int], set[int]]:
    """The cut that a shard stands at, and its layers. Raises OSError, ValueError, KeyError."""
    import safetensors

    try:
        check_regular(path)
        with safetensors.safe_open(path, framework="np") as file:
            facts = json.loads(file.metadata()["facts"])
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: {error}") from error
    batch_id, epoch, index = facts["cut"]
    return (batch_id, epoch, index), set(facts["layers"].values())
