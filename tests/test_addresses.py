"""Addresses: what they say, and who can reach them."""

from __future__ import annotations

import socket

import pytest

from dni_async.addresses import (
    address_towards,
    is_exposed,
    is_ipv4,
    is_loopback,
    is_tcp_address,
    try_listening,
)


@pytest.mark.parametrize(
    ("address", "exposed"),
    [
        ("ipc:///tmp/x", False),
        ("tcp://127.0.0.1:0", False),
        ("tcp://127.9.9.9:1", False),
        ("tcp://[::1]:0", False),
        ("tcp://0.0.0.0:0", True),
        ("tcp://*:5555", True),
        ("tcp://[::]:0", True),
        ("tcp://10.0.0.1:5", True),
        ("tcp://localhost:0", True),  # a name says nothing certain
        ("tcp://eth0:0", True),
    ],
)
def test_what_other_hosts_can_reach(address: str, exposed: bool) -> None:
    assert is_exposed(address) is exposed


@pytest.mark.parametrize(
    ("host", "loopback", "ipv4"),
    [
        ("127.0.0.1", True, True),
        ("::1", True, False),
        ("localhost", True, False),
        ("10.0.0.1", False, True),
        ("0.0.0.0", False, True),
        ("head.example", False, False),
        ("", False, False),
    ],
)
def test_hosts(host: str, loopback: bool, ipv4: bool) -> None:
    assert (is_loopback(host), is_ipv4(host)) == (loopback, ipv4)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("tcp://10.0.0.1:5555", True),
        ("tcp://head.example:0", True),
        ("tcp://0.0.0.0:99999", True),  # what port there is, the system knows
        ("10.0.0.1:5555", False),
        ("tcp://10.0.0.1", False),
        ("tcp://:5555", False),
        ("tcp://user@host:5555", False),
        ("ipc:///tmp/x", False),
        ("tcp://a b:1", False),
    ],
)
def test_tcp_addresses(text: str, is_one: bool) -> None:
    assert is_tcp_address(text) is is_one


def test_packets_to_this_machine_stay_on_it() -> None:
    assert address_towards("127.0.0.1", 9) == "127.0.0.1"
    with pytest.raises(OSError, match=r"\S"):
        address_towards("no.such.host.invalid", 9)


def test_a_port_that_is_taken_cannot_be_listened_on() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="Address already in use"):
            try_listening("127.0.0.1", port)
    try_listening("127.0.0.1", port)
    with pytest.raises(OverflowError):
        try_listening("127.0.0.1", 99999)
