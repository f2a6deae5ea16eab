"""What is said first where slots are handed over, beside the link, on a unix socket."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import struct
from typing import Final

from dni_async.errors import LinkError
from dni_async.system.machine import unix_address

__all__ = [
    "DEVICE_MAGIC",
    "GREETING_BYTES",
    "HANDOVER_TIMEOUT_S",
    "HOST_MAGIC",
    "MAX_SLOTS",
    "connect",
    "make_greeting",
    "new_name",
    "read_greeting",
    "user_of",
]

HOST_MAGIC: Final = b"dni-async slots1"
DEVICE_MAGIC: Final = b"dni-async slots3"
HANDOVER_TIMEOUT_S: Final = 2.0
MAX_SLOTS: Final = 4096
_GREETING: Final = struct.Struct("<16s16sqq")  # magic, run id, slot bytes, slots
GREETING_BYTES: Final = _GREETING.size
_UCRED: Final = struct.Struct("3i")  # pid, user, group


def make_greeting(magic: bytes, run_id: str, slot_bytes: int, num_slots: int) -> bytes:
    """What is said first, by the lower end."""
    return _GREETING.pack(magic, _token(run_id), slot_bytes, num_slots)


def read_greeting(greeting: bytes, expected: bytes, run_id: str) -> tuple[int, int]:
    """Slot bytes and slots that a greeting names. Raises LinkError for another magic or run."""
    if len(greeting) != GREETING_BYTES:
        raise LinkError(f"slots came with {len(greeting)} bytes")
    magic, token, slot_bytes, num_slots = _GREETING.unpack(greeting)
    if magic != expected or token != _token(run_id):
        raise LinkError("slots of another run or version were handed over")
    if not 0 < slot_bytes <= 2**31 or not 0 < num_slots <= MAX_SLOTS:
        raise LinkError(f"{num_slots} slots of {slot_bytes} bytes are out of bounds")
    return slot_bytes, num_slots


def new_name() -> str:
    """@NAME of a socket without a file, which nobody can know, or take, before it is there."""
    return f"@dni-{secrets.token_hex(16)}"


def connect(path: str, timeout_s: float) -> socket.socket:
    """A connection to the listener at path, of this user.

    Raises OSError when nobody is there, PermissionError when it is another user who is.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout_s)
    try:
        connection.connect(unix_address(path))
        user = user_of(connection)
        if user != os.geteuid():
            raise PermissionError(errno.EPERM, f"another user ({user}) listens there")
    except OSError:
        connection.close()
        raise
    return connection


def user_of(connection: socket.socket) -> int:
    """Whose the other end is: anybody on the host can connect to a name without a file."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, user, _ = _UCRED.unpack(credentials)
    return int(user)


def _token(run_id: str) -> bytes:
    return run_id.encode()[:16].ljust(16, b"\0")
