"""A router between network namespaces that holds every packet back for a while.

``python -m benchmarks.harness.hosts.router SECONDS NAMESPACE...`` until its standard input ends.
Every namespace gets a TUN device; a packet that leaves one is read here, and written into the
namespace of its destination when its time has come. No rate is its limit but this process's.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.harness.hosts.hosts import INTERFACE

__all__ = ["main"]

_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
_OFFLOAD_CHECKSUMS = 0x01
_PREFIX_BYTES = 10  # of a virtio_net_hdr, which says what has been left to the device
_CLONE_NEWNET = 0x40000000
_MAX_PACKET = 65536 + _PREFIX_BYTES
_TICK_S = 0.002
_MAX_AT_ONCE = 64


def main(delay_s: float, namespaces: Sequence[str]) -> None:
    """Route until standard input ends. The last byte of an address, less 1, is its namespace."""
    tuns = [_open_tun(name) for name in namespaces]
    print("ready", flush=True)
    held: deque[tuple[float, int, bytes]] = deque()  # all are held equally long: in order
    while True:
        # Those that are held back may be later by two ticks: a wake-up serves all of a tick.
        waited_for = [] if delay_s else tuns
        patience = _TICK_S if delay_s else None
        readable, _, _ = select.select([*waited_for, sys.stdin.fileno()], [], [], patience)
        if sys.stdin.fileno() in readable:
            return
        for fd in tuns:
            for packet in _packets(fd):
                version = packet[_PREFIX_BYTES] >> 4
                target = packet[_PREFIX_BYTES + 19] - 1  # the last byte of an IPv4 destination
                if version == 4 and 0 <= target < len(tuns):
                    held.append((time.monotonic() + delay_s, tuns[target], packet))
        now = time.monotonic()
        while held and held[0][0] <= now:
            _, fd, packet = held.popleft()
            _deliver(fd, packet)


def _packets(fd: int) -> Iterator[bytes]:
    """Those that wait there, but not so many that others wait for long."""
    with suppress(BlockingIOError):
        for _ in range(_MAX_AT_ONCE):
            yield os.read(fd, _MAX_PACKET)


def _deliver(fd: int, packet: bytes) -> None:
    try:
        os.write(fd, packet)
    except OSError:  # a device that is down, or full: as on a real wire, tcp says it again
        return


def _open_tun(namespace: str) -> int:
    """A TUN device in namespace; it goes with the descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(Path("/run/netns") / namespace, os.O_RDONLY)
    try:
        _enter(libc, there)
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", INTERFACE.encode(), flags))
        fcntl.ioctl(tun, _TUNSETOFFLOAD, _OFFLOAD_CHECKSUMS)
        _enter(libc, here)
    finally:
        os.close(here)
        os.close(there)
    return tun


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
