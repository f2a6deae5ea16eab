"""tcp://HOST:PORT: whether it is one, who can reach it, and from where packets go there."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket

__all__ = [
    "address_towards",
    "another_place",
    "host_of",
    "is_exposed",
    "is_ipv4",
    "is_loopback",
    "is_tcp_address",
    "try_listening",
]

_UNUSED = "192.0.2.1"  # set aside for documentation (RFC 5737): packets to it go the default way


def is_tcp_address(text: str) -> bool:
    """Whether text is tcp://HOST:PORT, whatever the host is."""
    return re.fullmatch(r"tcp://[^\s:/@]+:[0-9]{1,5}", text) is not None


def is_ipv4(host: str) -> bool:
    """Whether host is an IPv4 address in numbers."""
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether host, a name or an address, is reached from this machine alone.

    Of all names localhost alone counts as one that is.
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """The host that a Host header names, without its port; a tunnel may have changed that."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()


def is_exposed(address: str) -> bool:
    """Whether a socket's address can be reached from other hosts; a name counts as one that can."""
    scheme, _, rest = address.partition("://")
    if scheme != "tcp":
        return False
    host = rest.rpartition(":")[0].strip("[]")
    return host == "localhost" or not is_loopback(host)


def address_towards(host: str = _UNUSED, port: int = 9) -> str:
    """The IPv4 address of this machine from which packets go to host, by default anywhere else.

    Raises OSError when there is no way there, or the host is not known.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))  # no packet is sent
        name: str = probe.getsockname()[0]
        return name


def try_listening(host: str, port: int) -> None:
    """Listen there, and let go. Raises OSError, OverflowError for a port that cannot be."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ZeroMQ does
        trial.bind((host, port))
        trial.listen(1)


def another_place(error: int) -> str:
    """What to take instead where listening came to this errno."""
    remedies = {
        errno.EADDRNOTAVAIL: "an address that this host has: ip -brief address",
        errno.EADDRINUSE: "another port, or end what listens there: ss -ltnp",
        errno.EACCES: "a port above 1023",
    }
    return remedies.get(error, "another address or port")
