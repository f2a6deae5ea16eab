"""Writes a stage's shards beside training, in a thread that touches nothing but copies."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from pathlib import Path

from dni_async.decisions.actions import Cut
from dni_async.files import names
from dni_async.files.checkpoint import partial_folder
from dni_async.files.shards import Shard, pack
from dni_async.files.writing import write_whole
from dni_async.wire.messages import Saved

__all__ = ["ShardWriter"]


class ShardWriter:
    """One shard at a time: a second one waits until the first is on disk, so memory is bounded."""

    def __init__(self, root: Path, run_id: str, stage: int) -> None:
        self._root = root
        self._run_id = run_id
        self._stage = stage
        self._thread: threading.Thread | None = None
        self._done: deque[Saved] = deque()
        self._num_untold = 0

    def save(self, cut: Cut, shard: Shard) -> None:
        """Begin to write the stage's part of the checkpoint at cut."""
        self.finish()
        self._num_untold += 1
        self._thread = threading.Thread(target=self.write, args=(cut, shard), daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until what was begun is done."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def take(self) -> Saved | None:
        """What there is to tell of a shard that is done, once."""
        if not self._done:
            return None
        self._num_untold -= 1
        return self._done.popleft()

    @property
    def has_more(self) -> bool:
        """Whether take will give something, now or in a moment."""
        return self._num_untold > 0

    def path(self, batch_id: int) -> Path:
        """Where the shard of a checkpoint that is not whole yet lies."""
        return partial_folder(self._root, batch_id) / names.shard(self._stage)

    def write(self, cut: Cut, shard: Shard) -> None:
        """What the thread does: the shard is on disk, or there is a reason why not."""
        size_bytes, sha256, reason = 0, "", ""
        try:
            content, digest = pack(shard), hashlib.sha256()
            for part in content:
                digest.update(part)
                size_bytes += part.nbytes
            sha256 = digest.hexdigest()
            write_whole(self.path(cut.batch_id), *content)
        except OSError as error:
            reason = error.strerror or str(error)
        except Exception as error:  # nothing but the coordinator would hear of it
            reason = f"{type(error).__name__}: {error}"[:1000]
        layers = shard.facts["layers"].values()
        self._done.append(
            Saved(
                run_id=self._run_id,
                stage=self._stage,
                batch_id=cut.batch_id,
                epoch=cut.epoch,
                index=cut.index,
                size_bytes=size_bytes,
                sha256=sha256,
                reason=reason,
                first_layer=min(layers, default=0),
                end_layer=max(layers, default=0) + 1,
            )
        )
