"""Files of a worker that has joined from elsewhere: carried over its control socket."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dni_async.errors import HandshakeError
from dni_async.files.parts import Assembly, read_slices
from dni_async.transport.interface import ControlChannel
from dni_async.wire.messages import (
    MAX_PART_BYTES,
    FileHeard,
    FileKind,
    FilePart,
    Message,
    Welcome,
)

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["FileCourier", "Incoming"]

PARTS_AT_ONCE: Final = 8  # sent before the loop that sends them does anything else
UNHEARD_S: Final = 30.0  # after which what was sent is taken for lost; a slow disk takes less


class FileCourier:
    """Sends what was written in a folder of this host, which it makes, and removes it there.

    A few parts at a time, as its owner's loop goes round and the connection takes them. clock: in
    seconds.
    """

    def __init__(
        self,
        control: ControlChannel,
        run_id: str,
        stage: int,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._run_id = run_id
        self._stage = stage
        self._folder = folder
        self._clock = clock
        self._queue: deque[Iterator[Message]] = deque()
        self._drawn: Message | None = None  # and not taken yet
        self._unheard: dict[FileKind, Path] = {}  # sent, or to be sent, until all has arrived
        self._drawn_at = clock()
        folder.mkdir(mode=0o700)

    def redirect(self, welcome: Welcome) -> Welcome:
        """welcome, with all that is to be written in the folder, and nothing to be read outside.

        Whoever says Welcome names no path that this process would use.
        """
        return dataclasses.replace(
            welcome,
            weights_path=str(self._folder / "weights.safetensors"),
            profile_folder=self._folder_for(welcome.profile_folder, "profile"),
            events_folder=self._folder_for(welcome.events_folder, "events"),
            checkpoint_folder=self._folder_for(welcome.checkpoint_folder, "checkpoints"),
            shard="",
        )

    def _folder_for(self, asked: str, name: str) -> str:
        """Where to write what is asked for; empty where it is not."""
        if not asked:
            return ""
        path = self._folder / name
        path.mkdir(exist_ok=True)
        return str(path)

    def incoming(self) -> Incoming:
        """A shard that is to come."""
        return Incoming(self._folder / "shard.safetensors")

    def send_shard(self, path: Path, batch_id: int) -> None:
        """Have the stage's part of a checkpoint sent, and removed.

        Whether it arrives is told by what becomes of the checkpoint.
        """
        self._queue.append(self._shard(path, batch_id))

    def send(self, kind: FileKind, path: Path) -> None:
        """Have a file sent, if it is there, until all of it has arrived, and removed.

        What was not asked for has no path in the folder, and is none of ours.
        """
        if path.is_relative_to(self._folder) and path.is_file():
            self._unheard[kind] = path
            self._queue.append(self._sending(kind, path))

    def hear(self, message: FileHeard) -> None:
        """A file has arrived, or must be sent once more."""
        path = self._unheard.get(message.kind)
        if path is None:
            return
        if message.again:
            self._queue.append(self._sending(message.kind, path))
        else:
            del self._unheard[message.kind]
            path.unlink(missing_ok=True)

    def tell(self, message: Message) -> None:
        """Have a word sent behind all files so far."""
        self._queue.append(iter([message]))

    @property
    def is_idle(self) -> bool:
        """Whether the connection has taken all there is to send."""
        return self._drawn is None and not self._queue

    @property
    def is_done(self) -> bool:
        """Whether all there was to send has been sent, and files have arrived."""
        return self.is_idle and not self._unheard

    def push(self) -> None:
        """Send the next few parts, as far as the connection takes them."""
        if self.is_idle and self._unheard and self._clock() - self._drawn_at > UNHEARD_S:
            self._queue.extend(self._sending(kind, path) for kind, path in self._unheard.items())
        for _ in range(PARTS_AT_ONCE):
            self._drawn = self._drawn or self._draw()
            if self._drawn is None or not self._control.offer(self._drawn):
                return
            self._drawn, self._drawn_at = None, self._clock()

    def _draw(self) -> Message | None:
        while self._queue:
            message = next(self._queue[0], None)
            if message is not None:
                return message
            self._queue.popleft()
        return None

    def _sending(self, kind: FileKind, path: Path) -> Iterator[FilePart]:
        """All of a file, once more where need be, unless it has arrived meanwhile."""
        if kind not in self._unheard:
            return
        for part in self._parts(kind, path, 0):
            if kind not in self._unheard:
                return
            yield part

    def _shard(self, path: Path, batch_id: int) -> Iterator[FilePart]:
        yield from self._parts("shard", path, batch_id)
        path.unlink()

    def _parts(self, kind: FileKind, path: Path, batch_id: int) -> Iterator[FilePart]:
        for each in read_slices(path, MAX_PART_BYTES):
            yield FilePart(
                run_id=self._run_id,
                stage=self._stage,
                kind=kind,
                batch_id=batch_id,
                data=each.data,
                is_last=each.is_last,
                offset=each.offset,
                sha256=each.sha256,
            )


class Incoming:
    """A file that comes in parts; is_whole: whether nothing was lost on the way, at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_whole = False
        self._assembly = Assembly()
        self._file: BinaryIO | None = None

    def add(self, part: FilePart) -> bool:
        """Write the next part; whether it was the last. Raises HandshakeError for another file."""
        if part.kind != "shard":
            raise HandshakeError(f"awaited was a shard, but {part.kind} came")
        place = self._assembly.take(part.offset, part.data)
        if place == "first" or self._file is None:
            self.close()
            self._file = self.path.open("wb")
        if place != "passed over":
            self._file.write(part.data)
        if part.is_last:
            self.close()
            self.is_whole = self._assembly.is_whole(part.sha256)
        return part.is_last

    def close(self) -> None:
        """What has come is on its way to disk."""
        if self._file is not None:
            self._file.close()
            self._file = None
