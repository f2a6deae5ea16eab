"""How slots come from the lower end of a link to the upper one: offered, and listened for."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import torch

from dni_async.errors import LinkError
from dni_async.system.machine import unix_address
from dni_async.transport.slots.device_handover import accept_device_slots, offer_device_slots
from dni_async.transport.slots.greeting import (
    DEVICE_MAGIC,
    GREETING_BYTES,
    HANDOVER_TIMEOUT_S,
    HOST_MAGIC,
    read_greeting,
    user_of,
)
from dni_async.transport.slots.host import accept_host_slots, offer_host_slots
from dni_async.transport.slots.interface import SharedSlots, SlotOffer

__all__ = ["SlotListener", "offer_slots"]


def offer_slots(path: str, run_id: str, tensor: torch.Tensor, num_slots: int) -> SlotOffer:
    """Make slots for tensors like this one, where it lies, and hand them to the listener at path.

    Takes HANDOVER_TIMEOUT_S at most. Raises OSError where the memory, its sharing or the listener
    is not to be had.
    """
    make = offer_device_slots if tensor.is_cuda else offer_host_slots
    return make(path, run_id, tensor, num_slots)


class SlotListener:
    """The upper end's unix socket, on which the lower end hands over its slots."""

    def __init__(self, path: str, timeout_s: float = HANDOVER_TIMEOUT_S) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(unix_address(path))
        # Other users can connect to a name without a file, and wait in the queue before the one.
        self._socket.listen(socket.SOMAXCONN)

    def receive(self, run_id: str) -> SharedSlots:
        """The slots that were handed over before this is called, whoever else has connected.

        Raises OSError when there are none in time, LinkError when they are not of this run or not
        what they claim to be.
        """
        with ExitStack() as held:
            connection = held.enter_context(self._accept())
            connection.settimeout(self._timeout_s)
            greeting, fds, _, _ = socket.recv_fds(connection, GREETING_BYTES, 1)
            if greeting.startswith(DEVICE_MAGIC) and not fds:
                claims = read_greeting(greeting, DEVICE_MAGIC, run_id)
                slots = accept_device_slots(connection, *claims)
                held.pop_all()  # as long as it is open each end knows that the other is there
                return slots
        try:
            if len(greeting) != GREETING_BYTES or len(fds) != 1:
                raise LinkError(f"slots came with {len(greeting)} bytes and {len(fds)} descriptors")
            return accept_host_slots(fds[0], *read_greeting(greeting, HOST_MAGIC, run_id))
        except (LinkError, OSError):
            for fd in fds:
                with suppress(OSError):
                    os.close(fd)
            raise

    def _accept(self) -> socket.socket:
        """The first connection of this user; others are hung up on. Raises TimeoutError."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            connection, _ = self._socket.accept()
            if user_of(connection) == os.geteuid():
                return connection
            connection.close()
            if time.monotonic() > deadline:
                raise TimeoutError("only other users have connected")

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._socket.close()
        if not self.path.startswith("@"):
            Path(self.path).unlink(missing_ok=True)
