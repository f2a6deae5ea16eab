"""Sockets: whole messages in order, one error for garbage, and nobody blocks on sending."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dni_async import LinkError, WireError
from dni_async.transport.channels import ControlClient, ControlServer, FrameServer, FrameSocket
from dni_async.transport.sockets import (
    Poller,
    Sockets,
    has_encryption,
    library_version,
    open_sockets,
)
from dni_async.wire.messages import MAX_PART_BYTES, Bye, Failed, FilePart, Hello, Stop
from tests.transport.ring import lone_ring

PATIENCE_S = 10.0
LARGE = bytes(range(256)) * 1024  # past the size from which frames are not copied


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Sockets of one context, closed after the test."""
    with open_sockets(lone_ring()) as opened:
        yield opened


@pytest.fixture(params=["ipc", "tcp"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Somewhere to listen, over either transport."""
    return f"ipc://{tmp_path}/s" if request.param == "ipc" else "tcp://127.0.0.1:0"


@pytest.fixture
def pair(sockets: Sockets, address: str) -> tuple[FrameSocket, FrameSocket]:
    """The end that connected and the end that listens, joined."""
    listening = sockets.listening(address)
    connected = sockets.connected(listening.endpoint, listening.key)
    connected.send([b"hello"])
    assert receive(listening) == [b"hello"]
    return connected, listening


@pytest.fixture
def control(sockets: Sockets, address: str) -> tuple[ControlServer, ControlClient]:
    """A coordinator's end and that of a worker who is known to it as stage-0."""
    server = sockets.control_server(address)
    return server, sockets.control_client(server.endpoint, b"stage-0")


def receive(source: FrameSocket | FrameServer | ControlServer | ControlClient) -> Any:
    """What source receives next, waiting for it; frames as bytes."""
    poller = Poller()
    poller.watch(source)
    deadline = time.monotonic() + PATIENCE_S
    while (received := source.receive()) is None:
        assert time.monotonic() < deadline, "nothing came"
        poller.wait(deadline - time.monotonic())
    return [bytes(frame) for frame in received] if isinstance(received, list) else received


@pytest.mark.parametrize(
    "frames",
    [[b"one"], [b""], [b"two", b"frames"], [b"header", LARGE, b"", LARGE[:70_000]]],
    ids=["one", "empty", "two", "large"],
)
def test_frames_go_both_ways(pair: tuple[FrameSocket, FrameSocket], frames: list[bytes]) -> None:
    connected, listening = pair
    connected.send(frames)
    assert receive(listening) == frames
    listening.send(frames)
    assert receive(connected) == frames


def test_messages_of_all_sizes_keep_their_order(pair: tuple[FrameSocket, FrameSocket]) -> None:
    connected, listening = pair
    sent = [
        [str(number).encode(), *extra]
        for number in range(20)
        for extra in ([], [b"small"], [LARGE])
    ]
    for frames in sent:
        connected.send(frames)
    assert [receive(listening) for _ in sent] == sent
    assert listening.receive() is None


def test_large_received_frames_may_be_written_to(pair: tuple[FrameSocket, FrameSocket]) -> None:
    """So that a tensor can be made of one without a copy."""
    connected, listening = pair
    connected.send([b"header", LARGE])
    poller = Poller()
    poller.watch(listening)
    poller.wait(PATIENCE_S)
    frames = listening.receive()
    assert frames is not None
    assert not frames[1].readonly
    assert frames[1].nbytes == len(LARGE)


def test_nothing_there_is_none(
    pair: tuple[FrameSocket, FrameSocket], control: tuple[ControlServer, ControlClient]
) -> None:
    assert [end.receive() for end in (*pair, *control)] == [None] * 4


def test_sending_does_not_wait_for_a_peer(sockets: Sockets, address: str) -> None:
    """A neighbour that has died must not keep a worker from hearing Stop."""
    listening = sockets.listening(address)
    listening.send([b"to nobody"])
    listening.send([b"to nobody", LARGE])
    connected = sockets.connected(listening.endpoint, listening.key)
    for number in range(20):
        connected.send([b"%d" % number, LARGE])
    assert [receive(listening)[0] for _ in range(20)] == [b"%d" % n for n in range(20)]


def test_control_goes_both_ways(control: tuple[ControlServer, ControlClient]) -> None:
    server, client = control
    hello = Hello(1, "run", 0, 1, "host", "")
    client.send(hello)
    assert receive(server) == (b"stage-0", hello)
    server.send(b"stage-0", Stop("run", "over"))
    assert receive(client) == Stop("run", "over")


def test_the_coordinator_tells_workers_apart(sockets: Sockets, address: str) -> None:
    server = sockets.control_server(address)
    clients = [sockets.control_client(server.endpoint, b"stage-%d" % n) for n in range(3)]
    for stage, client in enumerate(clients):
        client.send(Hello(1, "run", stage, 1, "host", ""))
    heard = dict(receive(server) for _ in clients)
    assert {peer: hello.stage for peer, hello in heard.items()} == {
        b"stage-0": 0,
        b"stage-1": 1,
        b"stage-2": 2,
    }
    for stage in (2, 0, 1):
        server.send(b"stage-%d" % stage, Stop("run", f"stage {stage}"))
    assert [receive(client).reason for client in clients] == ["stage 0", "stage 1", "stage 2"]


def test_a_worker_that_is_not_there_is_a_link_error(
    control: tuple[ControlServer, ControlClient],
) -> None:
    with pytest.raises(LinkError, match="worker stage-7 is not connected"):
        control[0].send(b"stage-7", Stop("run", ""))


@pytest.mark.parametrize("is_from_server", [True, False])
def test_what_is_offered_waits_for_a_reader_and_words_do_not_get_lost(
    control: tuple[ControlServer, ControlClient], is_from_server: bool
) -> None:
    server, client = control
    client.send(Bye("run", 0))
    receive(server)
    part = FilePart("run", 0, "shard", 0, bytes(MAX_PART_BYTES), is_last=False)

    def offer() -> bool:
        return server.offer(b"stage-0", part) if is_from_server else client.offer(part)

    taken = 0
    while offer():
        taken += 1
        assert taken < 10_000  # parts: without a bound they would take all memory
    words = [Stop("run", str(number)) for number in range(100)]
    for word in words:
        if is_from_server:
            server.send(b"stage-0", word)
        else:
            client.send(word)
    heard = []
    while len(heard) < taken + len(words):
        if is_from_server:
            server.receive()  # as its loop does; what waits is handed over
            heard.append(receive(client))
        else:
            client.receive()
            heard.append(receive(server)[1])
    assert heard[taken:] == words


def test_words_for_who_has_gone_are_dropped(sockets: Sockets, address: str) -> None:
    server = sockets.control_server(address)
    client = sockets.control_client(server.endpoint, b"stage-0")
    client.send(Bye("run", 0))
    receive(server)
    part = FilePart("run", 0, "shard", 0, bytes(MAX_PART_BYTES), is_last=False)
    while server.offer(b"stage-0", part):
        pass
    server.send(b"stage-0", Stop("run", "is kept"))
    sockets.close(client)

    def go_on() -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            server.receive()  # as its loop does: only who hears a peer to its end knows of it
            server.offer(b"stage-0", part)

    with pytest.raises(LinkError):
        go_on()
    with pytest.raises(LinkError, match="worker stage-0 is not connected"):
        server.send(b"stage-0", Stop("run", "is not kept either"))
    assert server.receive() is None


def test_garbage_on_the_control_plane_is_one_error(
    control: tuple[ControlServer, ControlClient],
) -> None:
    server, client = control
    client.socket.send_multipart([b"garbage"])
    client.send(Failed("run", 0, "cpu", "", ""))
    with pytest.raises(WireError):
        receive(server)
    assert receive(server) == (b"stage-0", Failed("run", 0, "cpu", "", ""))
    server.socket.send_multipart([b"stage-0", b"garbage"])
    server.send(b"stage-0", Stop("run", ""))
    with pytest.raises(WireError):
        receive(client)
    assert receive(client) == Stop("run", "")


@pytest.mark.parametrize("listen", [Sockets.listening, Sockets.control_server])
def test_an_address_that_is_taken(sockets: Sockets, listen: Any) -> None:
    taken = sockets.listening("tcp://127.0.0.1:0").endpoint
    with pytest.raises(LinkError, match=f"cannot listen on {taken}: Address already in use"):
        listen(sockets, taken)


def test_an_address_that_is_none(sockets: Sockets) -> None:
    with pytest.raises(LinkError, match="cannot connect to nowhere"):
        sockets.connected("nowhere")
    with pytest.raises(LinkError, match="cannot connect to nowhere"):
        sockets.control_client("nowhere", b"stage-0")
    with pytest.raises(LinkError, match="cannot listen on ipc:///no/such/folder"):
        sockets.listening("ipc:///no/such/folder")


def test_listening_names_the_port_it_found(sockets: Sockets) -> None:
    endpoint = sockets.listening("tcp://127.0.0.1:0").endpoint
    assert endpoint.startswith("tcp://127.0.0.1:")
    assert not endpoint.endswith(":0")


def test_the_poller_names_readable_descriptors(pair: tuple[FrameSocket, FrameSocket]) -> None:
    connected, listening = pair
    read, write = os.pipe()
    poller = Poller()
    poller.watch(read)
    poller.watch(listening)
    try:
        assert poller.wait(0.0) == set()
        os.write(write, b"x")
        assert poller.wait(PATIENCE_S) == {read}
        poller.forget(read)
        connected.send([b"x"])
        assert poller.wait(PATIENCE_S) == set()  # a socket says so itself
        assert listening.receive() == [b"x"]
        poller.forget(listening)
        assert poller.wait(0.0) == set()
    finally:
        os.close(read)
        os.close(write)


def test_last_words_are_sent_when_the_sockets_close(tmp_path: Path) -> None:
    with open_sockets() as here:
        listening = here.listening(f"ipc://{tmp_path}/s")
        with open_sockets() as there:
            there.connected(listening.endpoint).send([b"bye", LARGE])
        assert receive(listening) == [b"bye", LARGE]


def test_many_are_answered_each_for_itself(sockets: Sockets, address: str) -> None:
    server = sockets.frame_server(address)
    one, other = (sockets.connected(server.endpoint, server.key) for _ in range(2))
    for client, word in ((one, b"one"), (other, b"other")):
        client.send([word, LARGE[:70_000]])
    for _ in range(2):
        peer, frames = receive(server)
        server.send(peer, [b"to", *frames])
    assert receive(one) == [b"to", b"one", LARGE[:70_000]]
    assert receive(other) == [b"to", b"other", LARGE[:70_000]]


def test_a_server_hears_that_a_peer_has_gone(sockets: Sockets, address: str) -> None:
    server = sockets.frame_server(address)
    with pytest.raises(LinkError, match="not connected"):
        server.send(b"nobody", [b"hello"])


def test_the_library_tells_what_it_is() -> None:
    assert library_version().startswith("4.")
    assert has_encryption()
