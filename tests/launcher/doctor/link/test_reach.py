"""Whether anything answers at an address, and what; every wait has an end."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from dni_async.errors import ConfigError
from dni_async.launcher.doctor.link.reach import Address, reach, resolve
from dni_async.transport.rings import make_rings
from dni_async.transport.sockets import open_sockets

TIMEOUT_S = 5.0
SHORT_S = 0.2


@contextmanager
def listener(say: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where the one who connects is told something."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as connection:
                say(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(TIMEOUT_S)


def test_a_doctor_says_how_it_asks() -> None:
    with open_sockets(make_rings()[0]) as sockets:
        address = Address.parse(sockets.frame_server("tcp://127.0.0.1:0").endpoint, is_ours=False)
        found = reach(address.host, address.port, TIMEOUT_S)
    assert (found.outcome, found.mechanism) == ("zeromq", "CURVE")


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"\xff" * 9])
def test_something_else_listens(said: bytes) -> None:
    with listener(lambda connection: connection.sendall(said)) as port:
        assert reach("127.0.0.1", port, TIMEOUT_S).outcome == "other"


def test_something_listens_and_says_nothing() -> None:
    ended = threading.Event()
    with listener(lambda _: ended.wait(TIMEOUT_S) and None) as port:
        assert reach("127.0.0.1", port, SHORT_S).outcome == "other"
        ended.set()


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert reach("127.0.0.1", port, TIMEOUT_S).outcome == "refused"


def test_nobody_takes_the_connection() -> None:
    """A full queue of connections drops new ones, as a firewall does."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        socket.create_connection(server.getsockname()),
    ):
        found = reach("127.0.0.1", server.getsockname()[1], SHORT_S)
    assert found.outcome == "silent"
    assert found.timeout_s == SHORT_S


def test_an_address_that_no_route_leads_to() -> None:
    assert reach("255.255.255.255", 9, TIMEOUT_S).outcome == "unreachable"


def test_names() -> None:
    assert resolve("10.1.2.3", TIMEOUT_S) == "10.1.2.3"
    assert resolve("localhost", TIMEOUT_S) == "127.0.0.1"
    with pytest.raises(OSError, match=r"label|unknown|not known"):
        resolve("a" * 64 + ".invalid", TIMEOUT_S)


def test_addresses() -> None:
    assert Address.parse("tcp://host.name:5555", is_ours=False) == Address(
        "tcp://host.name:5555", "host.name", 5555
    )
    assert Address.parse("tcp://0.0.0.0:0", is_ours=True).port == 0


@pytest.mark.parametrize(
    ("text", "is_ours"),
    [
        ("host:5555", False),
        ("ipc://x", False),
        ("tcp://host", False),
        ("tcp://:5555", False),
        ("tcp://host:99999", False),
        ("tcp://host:port", False),
        ("tcp://host:0", False),
        ("tcp://host.name:5555", True),
        ("tcp://*:5555", True),
        ("tcp://[::1]:5555", True),
    ],
)
def test_what_is_no_address(text: str, is_ours: bool) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        Address.parse(text, is_ours=is_ours)
