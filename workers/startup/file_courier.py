"""Files of a worker that does not see the run directory: carried over its control socket."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from dni_async.errors import HandshakeError
from dni_async.transport.channels import ControlClient
from dni_async.transport.gate import RUN_ID_FILE
from dni_async.wire.messages import MAX_PART_BYTES, FileKind, FilePart, Welcome

__all__ = ["FileCourier", "Incoming", "sees_run"]


def sees_run(welcome: Welcome) -> bool:
    """Whether the run directory that welcome names is the coordinator's."""
    if not welcome.run_folder:  # all workers are on its host
        return True
    try:
        text = (Path(welcome.run_folder) / RUN_ID_FILE).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return False
    return text == welcome.run_id


class FileCourier:
    """Sends what was written in a folder of this host, which it makes, and removes it there."""

    def __init__(self, control: ControlClient, run_id: str, stage: int, folder: Path) -> None:
        self._control = control
        self._run_id = run_id
        self._stage = stage
        self._folder = folder
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
        """Queue the file, if it is there, and remove it.

        What was not asked for has no path in the folder, and is none of ours.
        """
        if not path.is_relative_to(self._folder):
            return
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        with file:
            left = os.fstat(file.fileno()).st_size
            while True:
                data = file.read(MAX_PART_BYTES)
                left -= len(data)
                part = FilePart(self._run_id, self._stage, kind, batch_id, data, left <= 0)
                self._control.send(part)
                if part.is_last:
                    break
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
