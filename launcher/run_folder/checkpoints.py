"""Makes checkpoints of the stages' shards, once these have been read back from disk."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dni_async.files import names
from dni_async.files.checkpoint import (
    Manifest,
    ShardFile,
    digest_of,
    partial_folder,
    prune,
    seal,
)
from dni_async.launcher.run_folder.best import BestCheckpoint
from dni_async.launcher.run_folder.errands import Runner
from dni_async.launcher.run_folder.gathering import Gathering, GivenUp, fault_in
from dni_async.wire.messages import Saved

__all__ = ["CheckpointTerms", "OpenCheckpoints"]


@dataclass(frozen=True, slots=True)
class CheckpointTerms:
    """run: what a run that goes on from them must have in common. num_layers, num_stages: of that.
    keep: how many stay, the newest.
    """

    run: Mapping[str, Any]
    num_layers: int
    num_stages: int
    keep: int


class OpenCheckpoints:
    """The checkpoints of a run that are not whole yet; newest: the newest one that is.

    runner: reads shards back. sync: called before one becomes whole, to have on disk what was told
    of the epochs before it. note: told in a sentence of what was not made. best: the best one,
    which stays. decided: batch ids of those that were made (True) or given up, until somebody takes
    them out.
    """

    def __init__(
        self,
        root: Path,
        terms: CheckpointTerms,
        runner: Runner,
        *,
        sync: Callable[[], None],
        note: Callable[[str], None],
        best: BestCheckpoint | None = None,
    ) -> None:
        self.newest: Manifest | None = None
        self.decided: deque[tuple[int, bool]] = deque()
        self._root = root
        self._terms = terms
        self._runner = runner
        self._sync = sync
        self._note = note
        self._best = best
        self._gathering = Gathering(terms.num_stages)
        self._lent: dict[int, int] = {}  # by stage

    def lend(self, stage: int, path: Path) -> None:
        """A worker of stage is told to start from path, a file of a checkpoint or its folder, which
        stays until it has.
        """
        for folder in (path, path.parent):
            if folder.name.isdecimal():
                self._lent[stage] = int(folder.name)
                return

    def take_back(self, stage: int) -> None:
        """The stage's worker has started."""
        self._lent.pop(stage, None)

    def enter(self, saved: Saved) -> None:
        """Note what a stage told; with the last part the checkpoint is made whole, or given up.

        It is made when its shards have been read back, and older ones are removed only then.
        """
        for outcome in self._gathering.enter(saved):
            if isinstance(outcome, GivenUp):
                self._give_up(outcome.batch_id, outcome.reason)
                continue
            told = outcome.told
            folder = partial_folder(self._root, saved.batch_id)
            paths = [folder / names.shard(stage) for stage in range(len(told))]
            self._runner.run(partial(_read_back, paths), partial(self._judge, told))

    def _judge(
        self, told: Sequence[Saved], read: Sequence[tuple[int, str] | OSError] | OSError
    ) -> None:
        """Make the checkpoint whole if it can be relied on."""
        batch_id = told[0].batch_id
        found = [read] * len(told) if isinstance(read, OSError) else read
        fault = fault_in(told, found)
        if told[-1].end_layer != self._terms.num_layers:
            fault = "there are layers above those that were saved"
        if fault is not None:
            self._give_up(batch_id, fault)
            return
        try:
            made = self._seal(told)
        except OSError as error:
            self._give_up(batch_id, error.strerror or str(error))
        else:
            self.decided.append((batch_id, True))
            self._clear_up(made)

    def _give_up(self, batch_id: int, reason: str) -> None:
        shutil.rmtree(partial_folder(self._root, batch_id), ignore_errors=True)
        self.decided.append((batch_id, False))
        self._note(f"checkpoint {batch_id} was not made: {reason}; training goes on")

    def _seal(self, told: Sequence[Saved]) -> Manifest:
        self._sync()
        first = told[0]
        shards = tuple(
            ShardFile(saved.first_layer, saved.end_layer, saved.size_bytes, saved.sha256)
            for saved in told
        )
        folder = self._root / str(first.batch_id)
        run = self._terms.run
        manifest = Manifest(first.batch_id, first.epoch, first.index, run, shards, folder)
        seal(self._root, manifest)
        if self.newest is None or manifest.batch_id > self.newest.batch_id:
            self.newest = manifest
        return manifest

    def _clear_up(self, made: Manifest) -> None:
        """Keep the newest, the best, and what workers are about to start from."""
        best = self._best
        if best is not None:
            try:
                best.hear(made)
            except OSError as error:
                reason = error.strerror or error
                self._note(
                    f"checkpoint {made.batch_id} is the best, but that cannot be kept: {reason}; "
                    "training goes on"
                )
        spare = set(self._lent.values())
        if best is not None and best.best is not None:
            spare.add(best.best.batch_id)
        try:
            prune(self._root, self._terms.keep, spare=spare)
        except OSError as error:
            reason = error.strerror or error
            self._note(f"older checkpoints cannot be removed: {reason}; training goes on")


def _read_back(paths: Sequence[Path]) -> list[tuple[int, str] | OSError]:
    """Size and sha256 of each file as it is on disk."""
    found: list[tuple[int, str] | OSError] = []
    for path in paths:
        try:
            found.append(digest_of(path))
        except OSError as error:
            found.append(error)
    return found
