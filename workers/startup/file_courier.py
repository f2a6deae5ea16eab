"""Files of a worker that does not see the run directory: carried over its control socket."""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from dni_async.errors import HandshakeError
from dni_async.files import names
from dni_async.transport.interface import ControlChannel
from dni_async.wire.messages import MAX_PART_BYTES, FileKind, FilePart, Message, Welcome

__all__ = ["FileCourier", "Incoming", "sees_run"]

PARTS_AT_ONCE = 8  # sent before the loop that sends them does anything else


def sees_run(welcome: Welcome) -> bool:
    """Whether the run directory that welcome names is the coordinator's."""
    if not welcome.run_folder:  # all workers are on its host
        return True
    try:
        text = (Path(welcome.run_folder) / names.RUN_ID).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return False
    return text == welcome.run_id


class FileCourier:
    """Sends what was written in a folder of this host, which it makes, and removes it there.

    A few parts at a time, as its owner's loop goes round and the connection takes them.
    """

    def __init__(self, control: ControlChannel, run_id: str, stage: int, folder: Path) -> None:
        self._control = control
        self._run_id = run_id
        self._stage = stage
        self._folder = folder
        self._queue: deque[Iterator[Message]] = deque()
        self._drawn: Message | None = None  # and not taken yet
        folder.mkdir(mode=0o700)

    def redirect(self, welcome: Welcome) -> Welcome:
        """welcome, with all that is to be written in the folder."""
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

    def send(self, kind: FileKind, path: Path, batch_id: int = 0) -> None:
        """Have the file sent, if it is there, and removed.

        What was not asked for has no path in the folder, and is none of ours.
        """
        if path.is_relative_to(self._folder):
            self._queue.append(self._parts(kind, path, batch_id))

    def tell(self, message: Message) -> None:
        """Have a word sent behind all files so far."""
        self._queue.append(iter([message]))

    @property
    def is_done(self) -> bool:
        """Whether the connection has taken all there is to send."""
        return self._drawn is None and not self._queue

    def push(self) -> None:
        """Send the next few parts, as far as the connection takes them."""
        for _ in range(PARTS_AT_ONCE):
            self._drawn = self._drawn or self._draw()
            if self._drawn is None or not self._control.offer(self._drawn):
                return
            self._drawn = None

    def _draw(self) -> Message | None:
        while self._queue:
            message = next(self._queue[0], None)
            if message is not None:
                return message
            self._queue.popleft()
        return None

    def _parts(self, kind: FileKind, path: Path, batch_id: int) -> Iterator[FilePart]:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        with file:
            left = os.fstat(file.fileno()).st_size
            is_last = False
            while not is_last:
                data = file.read(MAX_PART_BYTES)
                left -= len(data)
                is_last = left <= 0
                yield FilePart(self._run_id, self._stage, kind, batch_id, data, is_last)
        path.unlink()


class Incoming:
    """A file that comes in parts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")

    def add(self, part: FilePart) -> bool:
        """Write the next part; whether it was the last. Raises HandshakeError for another file."""
        if part.kind != "shard":
            raise HandshakeError(f"awaited was a shard, but {part.kind} came")
        self._file.write(part.data)
        if part.is_last:
            self._file.close()
        return part.is_last
