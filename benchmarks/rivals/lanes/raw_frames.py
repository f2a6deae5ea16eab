"""Raw ZeroMQ: the same frames over the same kind of socket, without our messages around them."""

from __future__ import annotations

import struct
from typing import Final

import torch
import zmq

from benchmarks.rivals.lanes.lanes import Task, link_address
from dni_async.transport.frame_parts import join_parts, split_frame
from dni_async.transport.sockets import LINGER_MS
from dni_async.wire.tensors import VIEW_BYTES, to_buffer

__all__ = ["RawLower", "RawUpper", "make_socket"]

_HEADER: Final = struct.Struct("<q72x")  # 80 bytes, about what our header takes


def make_socket(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """A DEALER with the options of our transport."""
    socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
    for option, value in ((zmq.LINGER, LINGER_MS), (zmq.SNDHWM, 0), (zmq.RCVHWM, 0)):
        socket.setsockopt(option, value)
    return socket


class RawLower:
    """Sends [header, tensor] without copying; credits are bare headers.

    On lanes that end in -parts the tensor is in the parts that our guarded links send.
    """

    def __init__(self, socket: zmq.Socket[bytes], task: Task) -> None:
        self._socket = socket
        self._in_parts = task.lane.endswith("-parts")
        socket.connect(task.address)

    def send(self, batch_id: int, tensor: torch.Tensor) -> None:
        """Two frames, or the header and the parts."""
        buffer = to_buffer(tensor)
        parts = split_frame(buffer) if self._in_parts else [buffer]
        self._socket.send_multipart([_HEADER.pack(batch_id), *parts], copy=False)

    def credit(self) -> int:
        """Wait inside ZeroMQ."""
        return int(_HEADER.unpack(self._socket.recv())[0])

    def close(self) -> None:
        """Now, not when it is collected."""
        self._socket.close()


class RawUpper:
    """Makes a tensor of what follows the header; as on our links, small ones are copied."""

    def __init__(self, socket: zmq.Socket[bytes], task: Task) -> None:
        self._socket = socket
        socket.bind(link_address(task))
        endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(endpoint, bytes)
        self.key = ""
        self.endpoint = endpoint.rstrip(b"\0").decode()

    def receive(self) -> tuple[int, torch.Tensor]:
        """Wait inside ZeroMQ."""
        header, *payload = self._socket.recv_multipart(copy=False)
        buffer = payload[0].buffer
        if len(payload) > 1:
            (buffer,) = join_parts([part.buffer for part in payload])
        if buffer.nbytes < VIEW_BYTES:
            buffer = memoryview(bytearray(buffer))
        return _HEADER.unpack(header.buffer)[0], torch.frombuffer(buffer, dtype=torch.float32)

    def give_credit(self, batch_id: int) -> None:
        """One small frame."""
        self._socket.send(_HEADER.pack(batch_id))

    def close(self) -> None:
        """Now, not when it is collected."""
        self._socket.close()
