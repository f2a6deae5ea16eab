"""How much of one tcp connection may be on its way at once, by the kernel's limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["LEAVE", "TcpBuffer", "receive_buffer", "send_buffer"]

LEAVE: Final = -1
"""Asks for nothing: the kernel goes on to size the buffer by itself."""

_NET: Final = Path("/proc/sys/net")


@dataclass(frozen=True, slots=True)
class TcpBuffer:
    """One direction's buffer. A link carries no more than what this holds in a round trip.

    most_bytes: how large it can become, the kernel's own bookkeeping included (about a third); 0
    where the system does not say. ask_bytes: what a socket asks for to have that, or LEAVE.
    """

    most_bytes: int = 0
    ask_bytes: int = LEAVE


def send_buffer(net: Path = _NET) -> TcpBuffer:
    """Of what was sent and not acknowledged yet."""
    return _buffer(net / "ipv4/tcp_wmem", net / "core/wmem_max")


def receive_buffer(net: Path = _NET) -> TcpBuffer:
    """Of what came and was not read yet; half of it is what a sender may have under way."""
    return _buffer(net / "ipv4/tcp_rmem", net / "core/rmem_max")


def _buffer(tuned: Path, asked: Path) -> TcpBuffer:
    """Linux sizes a buffer up to the third number of tuned, and gives who asks twice the asked.

    Who asks has that size for good, so it is only worth while where it is more (tcp(7), socket(7)).
    """
    try:
        by_itself = int(tuned.read_text(encoding="ascii").split()[2])
    except (OSError, ValueError, IndexError):
        return TcpBuffer()
    try:
        most_asked = int(asked.read_text(encoding="ascii"))
    except (OSError, ValueError):  # a network namespace may not show it
        return TcpBuffer(by_itself)
    if 2 * most_asked <= by_itself:
        return TcpBuffer(by_itself)
    return TcpBuffer(2 * most_asked, most_asked)
