"""Sends workers that have joined from elsewhere the files that they start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from dni_async.errors import LinkError
from dni_async.launcher.run_folder.received_files import parts_of
from dni_async.transport.channels import ControlServer
from dni_async.wire.messages import FilePart

__all__ = ["ShardSender"]

PARTS_AT_ONCE = 8  # to each, before the loop that sends them does anything else


class ShardSender:
    """A few parts at a time go to each, as the loop goes round and the connection takes them.

    note: tells the user of a file that cannot be read.
    """

    def __init__(self, control: ControlServer, run_id: str, note: Callable[[str], None]) -> None:
        self._control = control
        self._run_id = run_id
        self._note = note
        self._open: dict[bytes, tuple[int, Iterator[FilePart]]] = {}
        self._drawn: dict[bytes, FilePart] = {}  # and not taken yet

    @property
    def is_done(self) -> bool:
        """Whether nothing is on its way."""
        return not self._open

    def send(self, peer: bytes, stage: int, path: Path | None) -> None:
        """Have the shard sent; another one that the same peer gets is given up."""
        self._drawn.pop(peer, None)
        self._open[peer] = (stage, parts_of(path, self._run_id, stage))

    def push(self) -> None:
        """Send everybody the next few parts."""
        for peer, (stage, _) in list(self._open.items()):
            try:
                is_done = self._push(peer)
            except LinkError:  # it has gone, which is noticed elsewhere
                is_done = True
            except OSError as error:  # it will not be ready in time, and the run then ends
                self._note(f"stage {stage}: its shard cannot be read: {error.strerror}")
                is_done = True
            if is_done:
                del self._open[peer]
                self._drawn.pop(peer, None)

    def _push(self, peer: bytes) -> bool:
        """Whether all of it has been sent. Raises LinkError, OSError."""
        for _ in range(PARTS_AT_ONCE):
            part = self._drawn.get(peer) or next(self._open[peer][1], None)
            if part is None:
                return True
            self._drawn[peer] = part
            if not self._control.offer(peer, part):
                return False
            del self._drawn[peer]
        return False
