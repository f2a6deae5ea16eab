"""Files of workers that have joined from elsewhere: theirs are written, shards are sent."""

from __future__ import annotations

import dataclasses
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from dni_async.files import names
from dni_async.files.checkpoint import digest_of, partial_folder
from dni_async.files.parts import Assembly, read_slices
from dni_async.files.writing import sync_file, sync_folder
from dni_async.launcher.run_folder.errands import Runner
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.gathering import MAX_OPEN
from dni_async.wire.messages import MAX_PART_BYTES, FileHeard, FileKind, FilePart, Saved

__all__ = ["ReceivedFiles", "parts_of"]

MAX_TRIES: Final = 3  # of a file that comes damaged
_LOST: Final = "something of it was lost on the way"
Answer = Callable[[FileHeard], None]


class ReceivedFiles:
    """Puts what comes in parts where workers of this host would have written it.

    runner: has it on disk and reads it back. note: told in a sentence of what is not to be had. Of
    each stage there is at most one file of a kind under way, and MAX_OPEN shards are remembered.
    """

    def __init__(
        self, folder: RunFolder, runner: Runner, note: Callable[[str], None], *, has_shards: bool
    ) -> None:
        self._folder = folder
        self._runner = runner
        self._note = note
        self._has_shards = has_shards
        self._open: dict[tuple[int, FileKind], _Arriving] = {}
        self._tries: dict[tuple[int, FileKind], int] = {}
        self._failed: OrderedDict[tuple[int, int], str] = OrderedDict()  # stage, batch_id -> why
        self._count = 0  # of beginnings: an errand may still be at the one before

    def enter(self, part: FilePart, incarnation: int, answer: Answer) -> None:
        """Write the next bytes of a file; answer is told when all of it is on disk, but a shard."""
        path = self._path(part, incarnation)
        if path is None:
            if part.is_last and part.kind != "shard":
                answer(_heard(part, again=False))
            return
        arriving = self._arriving(part, path)
        arriving.add(part)
        if part.is_last:
            del self._open[part.stage, part.kind]
            self._runner.run(partial(arriving.keep, part), partial(self._judge, part, answer))

    def check(self, saved: Saved) -> Saved:
        """saved, with what went wrong on this side."""
        reason = self._failed.pop((saved.stage, saved.batch_id), "")
        return dataclasses.replace(saved, reason=reason) if reason else saved

    def close(self) -> None:
        """Remove what was begun, for no more of it comes."""
        for arriving in self._open.values():
            arriving.drop()
        self._open.clear()

    def _arriving(self, part: FilePart, path: Path) -> _Arriving:
        """The file that part belongs to; one that it leaves unfinished is given up."""
        key = (part.stage, part.kind)
        arriving = self._open.get(key)
        if arriving is None or arriving.path != path:
            if arriving is not None:
                arriving.drop()
            self._count += 1
            arriving = self._open[key] = _Arriving(path, str(self._count))
        return arriving

    def _judge(self, part: FilePart, answer: Answer, found: str | OSError) -> None:
        """Say what has become of a file. found: why it is not kept, empty where it is."""
        reason = (found.strerror or str(found)) if isinstance(found, OSError) else found
        if part.kind == "shard":
            if reason:
                self._failed[part.stage, part.batch_id] = reason
            while len(self._failed) > MAX_OPEN:
                self._failed.popitem(last=False)
            return
        tries = self._tries.get((part.stage, part.kind), 0) + 1
        again = reason == _LOST and tries < MAX_TRIES
        self._tries[part.stage, part.kind] = tries if reason else 0
        if reason and not again:
            self._note(f"stage {part.stage}: its {part.kind} could not be kept: {reason}")
        answer(_heard(part, again=again))

    def _path(self, part: FilePart, incarnation: int) -> Path | None:
        """Where the file belongs; None where nobody asked for it."""
        folder = self._folder
        match part.kind:
            case "weights":
                path = folder.stage_weights(part.stage)
            case "shard":
                root = partial_folder(folder.checkpoints, part.batch_id)
                return root / names.shard(part.stage) if self._has_shards else None
            case "profile":
                path = folder.profile / names.spans(part.stage)
            case "torch-profile":
                path = folder.profile / names.torch_profile(part.stage)
            case "events":
                path = folder.events / names.events(part.stage, incarnation)
        return path if path.parent.is_dir() else None


class _Arriving:
    """A file under way. path: where it is to lie; writer: tells this try apart."""

    def __init__(self, path: Path, writer: str) -> None:
        self.path = path
        self._part = names.partial(path, writer)
        self._assembly = Assembly()
        self._error: OSError | None = None

    def add(self, part: FilePart) -> None:
        """Write the next bytes; what cannot be written is told in the end."""
        place = self._assembly.take(part.offset, part.data)
        if place == "passed over" or self._error is not None:
            return
        try:
            if place == "first":
                self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._part.open("wb" if place == "first" else "ab") as file:
                file.write(part.data)
        except OSError as error:
            self._error = error
            self.drop()

    def keep(self, last: FilePart) -> str:
        """Give the file its name if it is on disk as it was sent; else why not, and it is gone.

        Raises OSError, and then nothing is left of it either.
        """
        try:
            if self._error is not None:
                raise self._error
            if not self._assembly.is_whole(last.sha256):
                self.drop()
                is_there = last.kind == "shard" and self.path.exists()  # its last part came twice
                return "" if is_there else _LOST
            sync_file(self._part)
            if last.kind != "shard" and digest_of(self._part)[1] != last.sha256:
                self.drop()
                return "it is not on disk as it was written"
            os.replace(self._part, self.path)
            sync_folder(self.path.parent)
        except OSError:
            self.drop()
            raise
        return ""

    def drop(self) -> None:
        """Remove what was written of it."""
        with suppress(OSError):
            self._part.unlink()


def _heard(part: FilePart, *, again: bool) -> FileHeard:
    return FileHeard(part.run_id, part.kind, part.batch_id, again)


def parts_of(path: Path | None, run_id: str, stage: int) -> Iterator[FilePart]:
    """A shard, for a worker that has joined from elsewhere. Raises OSError."""
    if path is None:
        return
    for each in read_slices(path, MAX_PART_BYTES):
        yield FilePart(
            run_id=run_id,
            stage=stage,
            kind="shard",
            batch_id=0,
            data=each.data,
            is_last=each.is_last,
            offset=each.offset,
            sha256=each.sha256,
        )
