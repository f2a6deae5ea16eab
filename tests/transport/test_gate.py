"""Who may connect: members of the run and nobody else, and a stranger costs next to nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Literal

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from benchmarks.workloads.attacks.strangers import imposters, raw_stranger
from dni_async import LinkError
from dni_async.transport.channels import ControlClient, FrameSocket
from dni_async.transport.frame_parts import PART_BYTES
from dni_async.transport.keys import KeyRing, read_keys, write_keys
from dni_async.transport.rings import make_key_pair, make_rings
from dni_async.transport.sockets import Poller, Sockets, open_sockets
from dni_async.wire.messages import Failed, Stop
from tests.transport.test_sockets import receive

RUN_ID = "0123456789abcdef"
LOOPBACK = "tcp://127.0.0.1:0"
PATIENCE_S = 10.0
Opened = Callable[[KeyRing], tuple[Sockets, list[str]]]
Kind = Literal["null", "password", "keys"]
IMPOSTERS: list[tuple[Kind, bool]] = [  # whether it knows the key of the inbox
    ("null", False), ("password", False), ("keys", False), ("keys", True),
]  # fmt: skip


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Sockets of one process with its keys, and what they told of; closed after the test."""
    with ExitStack() as stack:

        def open_one(ring: KeyRing) -> tuple[Sockets, list[str]]:
            told: list[str] = []
            return stack.enter_context(open_sockets(ring, told.append)), told

        yield open_one


@pytest.fixture(scope="module", params=["own", "folder"])
def rings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[KeyRing, KeyRing]:
    """The coordinator's and the worker's, made for a run or of a folder."""
    if request.param == "own":
        return make_rings()
    folder = tmp_path_factory.mktemp("keys") / "ring"
    write_keys(folder, coordinator=make_key_pair(), worker=make_key_pair())
    return read_keys(folder, "coordinator"), read_keys(folder, "worker")


@pytest.fixture(scope="module")
def ring(rings: tuple[KeyRing, KeyRing]) -> KeyRing:
    """The worker's."""
    return rings[1]


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
    opened: Opened, ring: KeyRing, frames: list[bytes]
) -> None:
    (above, _), (below, _) = opened(ring), opened(ring)
    listening = above.listening(LOOPBACK)
    connected = below.connected(listening.endpoint, listening.key)
    connected.send(frames)
    assert receive(listening) == frames
    listening.send(frames)
    assert receive(connected) == frames


def test_the_control_plane_is_guarded_alike(opened: Opened, rings: tuple[KeyRing, KeyRing]) -> None:
    (here, _), (there, _) = map(opened, rings)
    server = here.control_server(LOOPBACK)
    client = there.control_client(server.endpoint, b"stage-0")
    last_words = Failed(RUN_ID, 0, "cpu", "", "x" * 48_000)
    client.send(last_words)
    assert receive(server) == (b"stage-0", last_words)
    server.send(b"stage-0", Stop(RUN_ID, "over"))
    assert receive(client) == Stop(RUN_ID, "over")


def test_an_imposter_neither_gets_nor_gives_and_is_named_once(
    opened: Opened, ring: KeyRing
) -> None:
    """What an inbox sends is dealt out over its peers: a second one would get every other.

    Who knows the inbox's key is named, and is refused still, for want of a key of the run.
    """
    (above, told), (below, _) = opened(ring), opened(ring)
    listening = above.listening(LOOPBACK)
    with ExitStack() as stack:
        strangers = [
            stranger
            for kind, server in IMPOSTERS
            for stranger in stack.enter_context(
                imposters(listening.endpoint, 5, kind, listening.key.encode() if server else b"")
            )
        ]
        settle(listening, lambda: bool(told))
        connected = below.connected(listening.endpoint, listening.key)
        connected.send([b"hello"])
        assert receive(listening) == [b"hello"]
        for number in range(20):
            listening.send([b"%d" % number])
        assert [receive(connected) for _ in range(20)] == [[b"%d" % n] for n in range(20)]
        assert settle(listening, lambda: True) == []
        assert all(not stranger.poll(0) for stranger in strangers)
    assert told == ["a connection from 127.0.0.1 was refused, as its key is not of this run"]


def test_an_unknown_key_is_refused(opened: Opened, ring: KeyRing) -> None:
    above, told = opened(ring)
    below, _ = opened(replace(ring, own=make_key_pair()))
    listening = above.listening(LOOPBACK)
    connected = below.connected(listening.endpoint, listening.key)
    connected.send([b"hello"])
    assert settle(listening, lambda: bool(told)) == []
    below.close(connected)
    assert told == ["a connection from 127.0.0.1 was refused, as its key is not of this run"]


def test_a_member_that_was_not_told_the_key_of_an_inbox_cannot_connect(
    opened: Opened, ring: KeyRing
) -> None:
    """The key is made anew with every inbox, and told to the neighbour alone."""
    (above, told), (below, _) = opened(ring), opened(ring)
    first, second = above.listening(LOOPBACK), above.listening(LOOPBACK)
    assert first.key != second.key
    known = (first.key, ring.own.public.decode(), ring.coordinator.decode())
    others = [below.connected(second.endpoint, key) for key in known]
    for other in others:
        other.send([b"let me in"])
    connected = below.connected(second.endpoint, second.key)
    connected.send([b"hello"])
    assert receive(second) == [b"hello"]
    assert settle(second, lambda: True) == []
    assert told == []
    for other in others:
        below.close(other)


@pytest.mark.parametrize("role", ["inbox", "coordinator"])
@pytest.mark.parametrize("speaks", ["PLAIN", "NULL", "CURVE"])
def test_a_listener_on_the_port_of_a_member_learns_nothing_and_cannot_answer(
    opened: Opened, ring: KeyRing, speaks: str, role: str
) -> None:
    """Whoever has taken the launcher's port, or a dead worker's, has no secret key of theirs."""
    below, _ = opened(ring)
    with FalseListener(speaks) as listener:
        channel: FrameSocket | ControlClient
        if role == "inbox":
            channel = below.connected(listener.endpoint, make_key_pair().public.decode())
            channel.send([b"hello"])
        else:
            channel = below.control_client(listener.endpoint, b"stage-0")
            channel.send(Stop(RUN_ID, "hello"))
        listener.wait_for_failure()
        assert listener.shown == []  # no password, not even the public key
        assert not listener.router.poll(0)
        assert channel.receive() is None
        below.close(channel)


class FalseListener:
    """Listens by ZeroMQ as a member might and admits everybody. shown: by what they were known."""

    def __init__(self, speaks: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._zap = self._context.socket(zmq.REP)
        self._zap.bind("inproc://zeromq.zap.01")
        self.router = self._context.socket(zmq.ROUTER)
        self.router.setsockopt(zmq.ZAP_DOMAIN, b"anybody")
        self.router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        if speaks == "PLAIN":
            self.router.setsockopt(zmq.PLAIN_SERVER, 1)
        if speaks == "CURVE":
            self.router.setsockopt(zmq.CURVE_SERVER, 1)
            self.router.setsockopt(zmq.CURVE_SECRETKEY, make_key_pair().secret)
        self._monitor = self.router.get_monitor_socket()
        port = self.router.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self.shown: list[list[bytes]] = []

    def __enter__(self) -> FalseListener:
        return self

    def __exit__(self, *_: object) -> None:
        self.router.disable_monitor()
        self._context.destroy(linger=0)

    def wait_for_failure(self) -> None:
        """Until a handshake has failed; none may succeed before."""
        failed = int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        deadline, events = time.monotonic() + PATIENCE_S, 0
        while not events & failed:
            assert time.monotonic() < deadline, "nobody has tried"
            if self._zap.poll(10):
                version, request, *_, mechanism = (said := self._zap.recv_multipart())[:6]
                self.shown.append([mechanism, *said[6:]])
                self._zap.send_multipart([version, request, b"200", b"OK", b"", b""])
            while self._monitor.poll(0):
                events |= int(recv_monitor_message(self._monitor)["event"])
                assert not events & zmq.EVENT_HANDSHAKE_SUCCEEDED


@pytest.mark.parametrize("kind", ["garbage", "http", "null", "large"])
def test_a_stranger_who_speaks_out_of_turn_is_cut_off(
    opened: Opened, ring: KeyRing, kind: str
) -> None:
    """An announced length of 2 GB is not waited for, and takes no memory."""
    sockets, _ = opened(ring)
    listening = sockets.listening(LOOPBACK)
    port = int(listening.endpoint.rpartition(":")[2])
    with raw_stranger(port, kind) as stranger:
        assert settle(listening, lambda: has_hung_up(stranger)) == []


def test_a_silent_stranger_is_cut_off_in_time(opened: Opened) -> None:
    """Of either kind, both at once: it takes five seconds."""
    with ExitStack() as stack:
        strangers = []
        listening = opened(make_rings()[1])[0].listening(LOOPBACK)
        port = int(listening.endpoint.rpartition(":")[2])
        for kind in ("silent", "half"):
            strangers.append(stack.enter_context(raw_stranger(port, kind)))
        for stranger in strangers:
            assert settle(listening, lambda stranger=stranger: has_hung_up(stranger)) == []


@pytest.mark.parametrize("address", [LOOPBACK, "tcp://0.0.0.0:0", "ipc://@dni-test-gate"])
def test_nothing_is_listened_on_or_connected_to_without_keys(address: str) -> None:
    with open_sockets() as sockets:
        for listen in (sockets.listening, sockets.control_server, sockets.frame_server):
            with pytest.raises(LinkError, match=f"will not use {address} without keys"):
                listen(address)
        with pytest.raises(LinkError, match=f"will not use {address} without keys"):
            sockets.connected(address, "x" * 40)
        with pytest.raises(LinkError, match=f"will not use {address} without keys"):
            sockets.control_client(address, b"stage-0")


@pytest.mark.parametrize("key", ["", "short", "x" * 41, "\N{SNOWMAN}" * 40])
def test_a_key_that_is_none_is_an_error_of_the_link(
    opened: Opened, ring: KeyRing, key: str
) -> None:
    with pytest.raises(
        LinkError, match=r"cannot connect to tcp://127\.0\.0\.1:9: it is known by no key"
    ):
        opened(ring)[0].connected("tcp://127.0.0.1:9", key)


def test_secrets_are_not_shown(ring: KeyRing) -> None:
    assert ring.own.secret.decode() not in repr(ring)
