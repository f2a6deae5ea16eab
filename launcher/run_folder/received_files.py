"""Files of workers that do not see the run directory: theirs are written, shards are sent."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dni_async.files import names
from dni_async.files.checkpoint import partial_folder
from dni_async.files.writing import drop_partial_file, write_part
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.wire.messages import MAX_PART_BYTES, FilePart, Saved

__all__ = ["ReceivedFiles", "marked_folder", "parts_of"]


class ReceivedFiles:
    """Puts what comes in parts where workers that see the run directory would have written it."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._failed: dict[tuple[int, int], str] = {}  # stage and batch_id -> why

    def enter(self, part: FilePart, incarnation: int) -> str | None:
        """Write the next bytes of a file; a sentence for the user if that cannot be."""
        path = self._path(part, incarnation)
        if path is None:
            return None
        key = (part.stage, part.batch_id)
        if key in self._failed:
            return None
        try:
            write_part(path, part.data, is_last=part.is_last)
        except OSError as error:
            reason = error.strerror or str(error)
            drop_partial_file(path)
            self._failed[key] = reason
            return f"stage {part.stage}: its {part.kind} could not be written: {reason}"
        return None

    def check(self, saved: Saved) -> Saved:
        """saved, with what went wrong on this side."""
        reason = self._failed.pop((saved.stage, saved.batch_id), "")
        return dataclasses.replace(saved, reason=reason) if reason else saved

    def _path(self, part: FilePart, incarnation: int) -> Path | None:
        """Where the file belongs; None where nobody asked for it."""
        folder = self._folder
        match part.kind:
            case "weights":
                return folder.stage_weights(part.stage)
            case "shard":
                return partial_folder(folder.checkpoints, part.batch_id) / names.shard(part.stage)
            case "profile":
                path = folder.profile / names.spans(part.stage)
            case "torch-profile":
                path = folder.profile / names.torch_profile(part.stage)
            case "events":
                path = folder.events / names.events(part.stage, incarnation)
        return path if path.parent.is_dir() else None


@contextmanager
def marked_folder(folder: RunFolder, run_id: str) -> Iterator[None]:
    """Let workers see, within the block, whether the run directory is the one that they see."""
    path = folder.path / names.RUN_ID
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(run_id)  # without keys it is a password
        yield
    finally:
        path.unlink(missing_ok=True)


def parts_of(path: Path | None, run_id: str, stage: int) -> Iterator[FilePart]:
    """A shard, for a worker that cannot read it. Raises OSError."""
    if path is None:
        return
    left = path.stat().st_size
    with path.open("rb") as file:
        while True:
            data = file.read(MAX_PART_BYTES)
            left -= len(data)
            yield FilePart(run_id, stage, "shard", 0, data, left <= 0)
            if left <= 0:
                return
