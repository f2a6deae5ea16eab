"""Who may connect: members of the run and nobody else, and a stranger costs next to nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.workloads.strangers import imposters, raw_stranger
from dni_async import LinkError
from dni_async.transport.channels import FrameSocket
from dni_async.transport.frame_parts import PART_BYTES
from dni_async.transport.gate import Guard
from dni_async.transport.keys import KeyRing, read_keys, write_keys
from dni_async.transport.sockets import Poller, Sockets, make_key_pair, open_sockets
from dni_async.wire.messages import Failed, Stop
from tests.transport.test_sockets import receive

RUN_ID = "0123456789abcdef"
LOOPBACK = "tcp://127.0.0.1:0"
PATIENCE_S = 10.0
Opened = Callable[[Guard], tuple[Sockets, list[str]]]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Sockets of one process with its guard, and what they told of; closed after the test."""
    with ExitStack() as stack:

        def open_one(guard: Guard) -> tuple[Sockets, list[str]]:
            told: list[str] = []
            return stack.enter_context(open_sockets(guard, told.append)), told

        yield open_one


@pytest.fixture(scope="module")
def rings(tmp_path_factory: pytest.TempPathFactory) -> tuple[KeyRing, KeyRing]:
    """The coordinator's and the worker's ring of one folder."""
    folder = tmp_path_factory.mktemp("keys") / "ring"
    write_keys(folder, coordinator=make_key_pair(), worker=make_key_pair())
    return read_keys(folder, "coordinator"), read_keys(folder, "worker")


@pytest.fixture(params=["password", "keys"])
def guard(request: pytest.FixtureRequest, rings: tuple[KeyRing, KeyRing]) -> Guard:
    """A worker's, by either way to know its own."""
    return Guard(RUN_ID, rings[1] if request.param == "keys" else None)


def settle(listening: FrameSocket, done: Callable[[], bool]) -> list[list[bytes]]:
    """What listening receives until done, answering its gate."""
    poller = Poller()
    poller.watch(listening)
    received = []
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, "it is not done"
        while (frames := listening.receive()) is not None:
            received.append([bytes(frame) for frame in frames])
        poller.wait(0.05)
    return received


def has_hung_up(connection: socket.socket) -> bool:
    """Whether the other end has closed; what it said before is dropped."""
    connection.settimeout(0.05)
    try:
        return connection.recv(4096) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize(
    "frames",
    [
        [b"one"],
        [b"", b""],
        *([b"header", bytes(PART_BYTES + extra), b"tail"] for extra in (-1, 0, 1)),
        [b"header", bytes(range(256)) * 4096, b"x" * 3 * PART_BYTES],
    ],
    ids=["one", "empty", "below", "exact", "above", "many"],
)
def test_members_talk_in_frames_of_any_size(
    opened: Opened, guard: Guard, frames: list[bytes]
) -> None:
    (above, _), (below, _) = opened(guard), opened(guard)
    listening = above.listening(LOOPBACK)
    connected = below.connected(listening.endpoint)
    connected.send(frames)
    assert receive(listening) == frames
    listening.send(frames)
    assert receive(connected) == frames


@pytest.mark.parametrize("with_keys", [False, True])
def test_the_control_plane_is_guarded_alike(
    opened: Opened, rings: tuple[KeyRing, KeyRing], with_keys: bool
) -> None:
    guards = [Guard(RUN_ID, ring if with_keys else None) for ring in rings]
    (here, _), (there, _) = map(opened, guards)
    server = here.control_server(LOOPBACK)
    client = there.control_client(server.endpoint, b"stage-0")
    last_words = Failed(RUN_ID, 0, "cpu", "", "x" * 48_000)
    client.send(last_words)
    assert receive(server) == (b"stage-0", last_words)
    server.send(b"stage-0", Stop(RUN_ID, "over"))
    assert receive(client) == Stop(RUN_ID, "over")


def test_an_imposter_neither_gets_nor_gives_and_is_named_once(opened: Opened, guard: Guard) -> None:
    """What an inbox sends is dealt out over its peers: a second one would get every other."""
    (above, told), (below, _) = opened(guard), opened(guard)
    listening = above.listening(LOOPBACK)
    with imposters(listening.endpoint, 5), imposters(listening.endpoint, 5, None) as strangers:
        if guard.ring is None:
            settle(listening, lambda: bool(told))
        connected = below.connected(listening.endpoint)
        connected.send([b"hello"])
        assert receive(listening) == [b"hello"]
        for number in range(20):
            listening.send([b"%d" % number])
        assert [receive(connected) for _ in range(20)] == [[b"%d" % n] for n in range(20)]
        assert settle(listening, lambda: True) == []
        assert all(not stranger.poll(0) for stranger in strangers)
    expected = "a connection from 127.0.0.1 was refused, as its password is not of this run"
    assert told == ([expected] if guard.ring is None else [])


def test_an_unknown_key_is_refused(opened: Opened, rings: tuple[KeyRing, KeyRing]) -> None:
    """Though it knows the server's public key, which is no secret."""
    above, told = opened(Guard(RUN_ID, rings[1]))
    below, _ = opened(Guard(RUN_ID, replace(rings[1], own=make_key_pair())))
    listening = above.listening(LOOPBACK)
    below.connected(listening.endpoint).send([b"hello"])
    assert settle(listening, lambda: bool(told)) == []
    assert told == ["a connection from 127.0.0.1 was refused, as its key is not of this run"]


def test_a_server_with_another_key_gets_nothing(
    opened: Opened, rings: tuple[KeyRing, KeyRing]
) -> None:
    """Who listens in a worker's place must have the worker's secret key."""
    false_ring = replace(rings[1], own=make_key_pair())
    above, _ = opened(Guard(RUN_ID, false_ring))
    right, told = opened(Guard(RUN_ID, rings[1]))
    false, true = above.listening(LOOPBACK), right.listening(LOOPBACK)
    below, _ = opened(Guard(RUN_ID, rings[1]))
    below.connected(false.endpoint).send([b"hello"])
    connected = below.connected(true.endpoint)
    connected.send([b"hello"])
    assert receive(true) == [b"hello"]
    assert settle(false, lambda: True) == []
    assert told == []


@pytest.mark.parametrize("kind", ["garbage", "http", "null", "large"])
def test_a_stranger_who_speaks_out_of_turn_is_cut_off(
    opened: Opened, guard: Guard, kind: str
) -> None:
    """An announced length of 2 GB is not waited for, and takes no memory."""
    sockets, _ = opened(guard)
    listening = sockets.listening(LOOPBACK)
    port = int(listening.endpoint.rpartition(":")[2])
    with raw_stranger(port, kind) as stranger:
        assert settle(listening, lambda: has_hung_up(stranger)) == []


def test_a_silent_stranger_is_cut_off_in_time(
    opened: Opened, rings: tuple[KeyRing, KeyRing]
) -> None:
    """Of either kind, at either guard, all at once: it takes five seconds."""
    with ExitStack() as stack:
        strangers = []
        for guard in (Guard(RUN_ID), Guard(RUN_ID, rings[1])):
            listening = opened(guard)[0].listening(LOOPBACK)
            port = int(listening.endpoint.rpartition(":")[2])
            for kind in ("silent", "half"):
                strangers.append((listening, stack.enter_context(raw_stranger(port, kind))))
        for listening, stranger in strangers:
            assert settle(listening, lambda stranger=stranger: has_hung_up(stranger)) == []


def test_no_keys_no_network(opened: Opened, rings: tuple[KeyRing, KeyRing]) -> None:
    with open_sockets() as unguarded:
        for sockets in (unguarded, opened(Guard(RUN_ID))[0]):
            for listen in (sockets.listening, sockets.control_server):
                with pytest.raises(LinkError, match=r"will not listen on tcp://0\.0\.0\.0:0 with"):
                    listen("tcp://0.0.0.0:0")
    for guard in (Guard(RUN_ID, is_open=True), Guard(RUN_ID, rings[1])):
        assert opened(guard)[0].listening("tcp://0.0.0.0:0").endpoint.startswith("tcp://0.0.0.0:")


def test_secrets_are_not_shown(rings: tuple[KeyRing, KeyRing], tmp_path: Path) -> None:
    shown = repr(Guard(RUN_ID, rings[1]))
    assert RUN_ID not in shown
    assert rings[1].own.secret.decode() not in shown
