"""Gathers what stages tell of their shards, and makes those that are all there a checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dni_async.files.checkpoint import (
    Manifest,
    ShardFile,
    partial_folder,
    prune,
    seal,
)
from dni_async.launcher.run_folder.best import BestCheckpoint
from dni_async.wire.messages import Saved

__all__ = ["OpenCheckpoints"]


class OpenCheckpoints:
    """The checkpoints of a run that are not whole yet; newest: the newest one that is.

    run: what a run that goes on from them must have in common. sync: called before one becomes
    whole, to have on disk what was told of the epochs before it. best: the best one, which stays.
    """

    def __init__(
        self,
        root: Path,
        *,
        run: Mapping[str, Any],
        ranges: Sequence[tuple[int, int]],
        keep: int,
        sync: Callable[[], None],
        best: BestCheckpoint | None = None,
    ) -> None:
        self.newest: Manifest | None = None
        self._root = root
        self._run = run
        self._ranges = ranges
        self._keep = keep
        self._sync = sync
        self._best = best
        self._told: dict[int, dict[int, Saved]] = {}  # by batch id and stage

    def enter(self, saved: Saved) -> str | None:
        """Note what a stage told; a sentence for the user if there is no checkpoint for it."""
        told = self._told.setdefault(saved.batch_id, {})
        told[saved.stage] = saved
        if len(told) < len(self._ranges):
            return None
        del self._told[saved.batch_id]
        failed = [each for _, each in sorted(told.items()) if each.reason]
        if failed:
            reason = f"stage {failed[0].stage}: {failed[0].reason}"
        else:
            try:
                made = self._seal([told[stage] for stage in range(len(self._ranges))])
            except OSError as error:
                reason = error.strerror or str(error)
            else:
                return self._clear_up(made)
        shutil.rmtree(partial_folder(self._root, saved.batch_id), ignore_errors=True)
        return f"checkpoint {saved.batch_id} was not made: {reason}; training goes on"

    def _seal(self, told: Sequence[Saved]) -> Manifest:
        self._sync()
        first = told[0]
        shards = tuple(
            ShardFile(start, end, saved.size_bytes, saved.sha256)
            for (start, end), saved in zip(self._ranges, told, strict=True)
        )
        folder = self._root / str(first.batch_id)
        manifest = Manifest(first.batch_id, first.epoch, first.index, self._run, shards, folder)
        seal(self._root, manifest)
        self.newest = manifest
        return manifest

    def _clear_up(self, made: Manifest) -> str | None:
        """Keep the newest and the best; a sentence for the user about what could not be done."""
        note, best = None, self._best
        if best is not None:
            try:
                best.hear(made)
            except OSError as error:
                reason = error.strerror or error
                note = f"checkpoint {made.batch_id} is the best, but that cannot be kept: {reason}"
        spare = None if best is None or best.best is None else best.best.batch_id
        try:
            prune(self._root, self._keep, spare=spare)
        except OSError as error:
            note = f"older checkpoints cannot be removed: {error.strerror or error}"
        return None if note is None else f"{note}; training goes on"
