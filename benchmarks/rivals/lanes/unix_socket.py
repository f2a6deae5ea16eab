"""A bare stream socket of the kernel's: what ZeroMQ's own threads and framing come on top of."""

from __future__ import annotations

import socket
import struct
from typing import Final

import torch

from benchmarks.rivals.lanes.lanes import Task
from dni_async.wire.tensors import to_buffer

__all__ = ["UnixLower", "UnixUpper"]

_HEADER: Final = struct.Struct("<q72x")  # 80 bytes, about what our header takes


class UnixLower:
    """Writes header and tensor one after the other; credits are bare headers."""

    def __init__(self, task: Task) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(task.address)

    def send(self, batch_id: int, tensor: torch.Tensor) -> None:
        """Blocks while the kernel's buffer is full."""
        self._socket.sendmsg([_HEADER.pack(batch_id)])
        self._socket.sendall(to_buffer(tensor))

    def credit(self) -> int:
        """Wait inside the kernel."""
        header = bytearray(_HEADER.size)
        _read_into(self._socket, memoryview(header))
        return int(_HEADER.unpack(header)[0])

    def close(self) -> None:
        """Now, not when it is collected."""
        self._socket.close()


class UnixUpper:
    """Reads into a new tensor each time."""

    def __init__(self, task: Task) -> None:
        self.endpoint, self.key = task.address, ""
        self._size_bytes = task.size_bytes
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(task.address)
        self._listener.listen(1)
        self._socket: socket.socket | None = None

    def receive(self) -> tuple[int, torch.Tensor]:
        """Wait inside the kernel."""
        if self._socket is None:
            self._socket, _ = self._listener.accept()
        header = bytearray(_HEADER.size)
        _read_into(self._socket, memoryview(header))
        buffer = bytearray(self._size_bytes)
        _read_into(self._socket, memoryview(buffer))
        return _HEADER.unpack(header)[0], torch.frombuffer(buffer, dtype=torch.float32)

    def give_credit(self, batch_id: int) -> None:
        """One small write."""
        assert self._socket is not None
        self._socket.sendall(_HEADER.pack(batch_id))

    def close(self) -> None:
        """Both sockets."""
        self._listener.close()
        if self._socket is not None:
            self._socket.close()


def _read_into(source: socket.socket, view: memoryview) -> None:
    while view:
        count = source.recv_into(view)
        if count == 0:
            raise EOFError("the other end hung up")
        view = view[count:]
