"""What nobody was left to write down: whole checkpoints' manifests, and what epochs came to."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
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
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.results import EpochResult
from dni_async.wire.messages import BoundaryEpoch

__all__ = ["Untold", "unsealed", "untold"]


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
            facts = _facts(path)
            before, epoch, index = facts["cut"]
            layers = set(facts["layers"].values())
            cuts.add((before, epoch, index))
            shards.append(ShardFile(min(layers), max(layers) + 1, *digest_of(path)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    ends = [0, *(shard.end_layer for shard in shards)]
    is_complete = ends[-1] == num_layers and ends[:-1] == [shard.first_layer for shard in shards]
    if not is_complete or len(cuts) != 1 or min(cuts)[0] != batch_id:
        return None
    return Manifest(*min(cuts), run, tuple(shards), root / str(batch_id))


def _facts(path: Path) -> dict[str, Any]:
    """What a shard says of itself. Raises OSError, ValueError, KeyError."""
    import safetensors

    try:
        check_regular(path)
        with safetensors.safe_open(path, framework="np") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: {error}") from error
    return facts


@dataclass(frozen=True, slots=True)
class Untold:
    """epochs: in order; boundaries: of those."""

    epochs: list[EpochResult] = field(default_factory=list)
    boundaries: list[BoundaryEpoch] = field(default_factory=list)


def untold(plan: Plan, manifest: Manifest, known: Collection[int]) -> Untold:
    """What the shards know of epochs that were tested before the checkpoint and are not known.

    A stage keeps its words until the launcher has entered their epoch. What was lost with them is
    null, and the epoch is there all the same. Raises OSError, ValueError, KeyError, TypeError for
    shards that are none.
    """
    found, words = Untold(), _words(manifest)
    tested = sorted({plan.config.tested_at(epoch) for epoch in range(1, plan.config.epochs + 1)})
    for epoch in tested:
        if epoch < manifest.epoch and epoch not in known:
            here = [(kind, told) for kind, told in words if told["epoch"] == epoch]
            found.epochs.append(_epoch(epoch, dict(here)))
            boundaries = (BoundaryEpoch(**told) for kind, told in here if kind == "BoundaryEpoch")
            found.boundaries.extend(each for each in boundaries if each.num_gradients)
    return found


def _words(manifest: Manifest) -> list[tuple[str, dict[str, Any]]]:
    facts = [_facts(manifest.path(stage)) for stage in range(len(manifest.shards))]
    return [(kind, told) for each in facts for kind, told in each["run"].get("words", ())]


def _epoch(epoch: int, told: dict[str, dict[str, Any]]) -> EpochResult:
    """told: by kind; what is not there is lost."""
    loss, tested = told.get("EpochLoss", {}), told.get("Evaluated", {})
    train_loss = loss.get("loss", math.nan)
    seconds = told.get("EpochTrained", {}).get("seconds", 0.0)
    test_s = min(seconds, max(each.get("tested_s", 0.0) for each in ({}, *told.values())))
    return EpochResult(
        epoch=epoch,
        seconds=seconds - test_s,
        test_seconds=test_s,
        train_loss=None if math.isnan(train_loss) else train_loss,
        test_loss=tested["loss"] if tested.get("num_samples") else None,
        test_metrics=tested.get("metrics", {}),
        num_samples=loss.get("num_samples", 0),
        num_tested=tested.get("num_samples", 0),
    )
