"""Which checkpoint holds the network that was tested best, and that network itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Final

from dni_async.decisions.goal import Goal
from dni_async.errors import CheckpointError
from dni_async.files import names
from dni_async.files.checkpoint import Manifest, check_shards, read_manifest
from dni_async.files.reading import read_bounded
from dni_async.files.writing import write_whole
from dni_async.wire.foreign_text import parsed

__all__ = ["Best", "BestCheckpoint", "best_state", "forget_later", "read_best"]

WEIGHTS: Final = "weights/"  # kind of parameters and buffers in a shard


@dataclass(frozen=True, slots=True)
class Best:
    """The test after epoch came to value of metric; mode: which end of that is best.

    batch_id: of the checkpoint with what was tested.
    """

    epoch: int
    metric: str
    mode: str
    value: float
    batch_id: int

    def check(self) -> None:
        """Raises TypeError for values of other kinds, as a file may hold."""
        kinds = (int, str, str, float, int)
        for value, kind in zip(astuple(self), kinds, strict=True):
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise TypeError(f"{value!r} is no {kind.__name__}")

    def told(self) -> dict[str, Any]:
        """As in report.json."""
        folder = f"{names.CHECKPOINTS}/{self.batch_id}"
        return {"epoch": self.epoch, "metric": self.metric, "value": self.value, "folder": folder}


class BestCheckpoint:
    """The best one so far, by goal, of a run that goes on.

    figure: what the test after an epoch came to, of all test samples; None where it did not. best:
    that of a resumed run if it was judged by the same; None before there is any.
    """

    def __init__(self, root: Path, goal: Goal, figure: Callable[[int], float | None]) -> None:
        self._root = root
        self._goal = goal
        self._figure = figure
        found = read_best(root)
        is_ours = found is not None and (found.metric, found.mode) == (goal.metric, goal.mode)
        self.best = found if is_ours else None

    def hear(self, made: Manifest) -> None:
        """A checkpoint is whole; it may be the best one from now on. Raises OSError: it is not.

        The stages told of the test before they saved, so what it came to is known by now.
        """
        if made.index != 0:
            return
        value = self._figure(made.epoch - 1)
        if value is None or math.isnan(value):
            return
        if self.best is not None and not self._goal.is_better(value, self.best.value):
            return
        best = Best(made.epoch - 1, self._goal.metric, self._goal.mode, value, made.batch_id)
        write_whole(self._root / names.BEST, json.dumps(asdict(best)).encode())
        self.best = best


def read_best(root: Path) -> Best | None:
    """The best of the checkpoints under root, if any is kept for that and is still there."""
    try:
        best = Best(**parsed(read_bounded(root / names.BEST)))
        best.check()
        is_there = (root / str(best.batch_id) / names.MANIFEST).is_file()
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return best if is_there else None


def forget_later(root: Path, newest: int) -> int | None:
    """The batch id of the best one; none from now on if it is of after batch newest."""
    best = read_best(root)
    if best is not None and best.batch_id > newest:
        (root / names.BEST).unlink(missing_ok=True)
        return None
    return None if best is None else best.batch_id


def best_state(root: Path) -> tuple[dict[str, Any], Any] | None:
    """Weights and OwnState of the best network, as trained_state has them; None without one.

    Raises CheckpointError for a file that is none, or not what its stage saved, and OSError.
    """
    from dni_async.files.beside import apart
    from dni_async.files.shards import read_shard
    from dni_async.stage.own_state import OwnState

    best = read_best(root)
    if best is None:
        return None
    manifest = read_manifest(root / str(best.batch_id))
    check_shards(manifest)
    weights: dict[str, Any] = {}
    values: dict[str, Any] = {}
    tensors: dict[str, Any] = {}
    for stage in range(len(manifest.shards)):
        shard = read_shard(manifest.path(stage))
        kept, own = apart(shard.tensors)
        weights |= {
            name.removeprefix(WEIGHTS): tensor
            for name, tensor in kept.items()
            if name.startswith(WEIGHTS)
        }
        values |= shard.facts.get("own", {})
        tensors |= own
    if not weights:
        raise CheckpointError(f"{manifest.folder}: holds no weights")
    return weights, OwnState(values, tensors)
