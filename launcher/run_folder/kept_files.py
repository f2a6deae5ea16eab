"""What workers leave of a run as it goes: files that they send, and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.run_folder.best import BestCheckpoint
from dni_async.launcher.run_folder.checkpoints import CheckpointTerms, OpenCheckpoints
from dni_async.launcher.run_folder.errands import Errands
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.received_files import ReceivedFiles
from dni_async.launcher.run_folder.resume import identity
from dni_async.wire.messages import FileHeard, FilePart, Saved

__all__ = ["KeptFiles"]


class KeptFiles:
    """Keeps them in folder, beside the coordinator's loop where that takes long.

    errands: that take a disk long. note: told in a sentence of what cannot be kept. best: which
    checkpoint holds the best network, where that is asked for.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        note: Callable[[str], None],
        best: BestCheckpoint | None,
        errands: Errands | None = None,
    ) -> None:
        config = plan.config
        self._best = best
        self.errands = errands or Errands()
        self._received = ReceivedFiles(
            folder,
            self.errands,
            note,
            has_shards=config.saves,
        )
        self._checkpoints = OpenCheckpoints(
            folder.checkpoints,
            CheckpointTerms(
                identity(plan), plan.num_layers, plan.num_stages, config.keep_checkpoints
            ),
            self.errands,
            sync=folder.sync_metrics,
            note=note,
            best=best,
        )

    def keep_part(
        self, part: FilePart, incarnation: int, answer: Callable[[FileHeard], None]
    ) -> None:
        """Write the next bytes of a file that a worker sends, who is told by answer how it ends."""
        self._received.enter(part, incarnation, answer)

    def keep_saved(self, saved: Saved) -> None:
        """Make a checkpoint whole with the last part of it, behind all files so far."""
        self.errands.run(lambda: None, partial(self._enter, saved))

    def _enter(self, saved: Saved, _: object) -> None:
        self._checkpoints.enter(self._received.check(saved))

    def look(self, *, is_last: bool = False) -> None:
        """Say what has been kept meanwhile; is_last: wait for what is under way."""
        if is_last:
            self.errands.finish()
            self._received.close()
        else:
            self.errands.look()

    def lend(self, stage: int, layers: tuple[int, int], otherwise: Path | None) -> Path | None:
        """What a worker of stage is to start from: of the newest checkpoint that this launch has
        made, before any otherwise. It stays there until has_started.

        A file; or the folder of the checkpoint, where the stage held other layers then.
        """
        newest, path = self._checkpoints.newest, otherwise
        if newest is not None:
            held = newest.shards[stage].first_layer, newest.shards[stage].end_layer
            path = (newest.path(stage) if held == layers else newest.folder).resolve()
        if path is not None:
            self._checkpoints.lend(stage, path)
        return path

    def decided(self) -> Iterator[tuple[int, bool]]:
        """The checkpoints that were made meanwhile, by batch id, and those that were given up."""
        while self._checkpoints.decided:
            yield self._checkpoints.decided.popleft()

    def has_started(self, stage: int) -> None:
        """The stage's worker needs what it was lent no more."""
        self._checkpoints.take_back(stage)

    def told_best(self) -> dict[str, Any] | None:
        """The best checkpoint so far, as in report.json; None without one."""
        best = self._best
        return None if best is None or best.best is None else best.best.told()
