"""A port that is shut lets nobody in, whoever is in goes on, and a crowd is let in slowly."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from dni_async import LinkError
from dni_async.transport.channels import FrameSocket
from dni_async.transport.door import BURST, LOOK_S, MOST, PER_S, Crowd, Door, listen
from dni_async.transport.rings import make_rings
from dni_async.transport.sockets import Sockets, open_sockets
from dni_async.wire.messages import Alive
from tests.transport.test_sockets import receive

LOOPBACK = "tcp://127.0.0.1:0"
PATIENCE_S = 10.0
KNOCK_S = 0.2  # on this host whoever is let in is so in less than a thousandth of it


@pytest.fixture
def ends() -> Iterator[tuple[Sockets, Sockets]]:
    """Those of a coordinator and of a worker."""
    coordinator, worker = make_rings()
    with open_sockets(coordinator) as own, open_sockets(worker) as others:
        yield own, others


def knock(endpoint: str) -> bool:
    """Whether somebody who comes to the port is let in."""
    port = int(endpoint.rpartition(":")[2])
    try:
        socket.create_connection(("127.0.0.1", port), KNOCK_S).close()
    except TimeoutError:
        return False
    return True


def wait_until(done: Callable[[], bool]) -> None:
    """Ask again and again."""
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline


def test_a_door_is_shut_and_opened_again() -> None:
    listener = listen(LOOPBACK)
    endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    with listener, closing(Door(listener.dup(), lambda: (0, 0))) as door:
        assert knock(endpoint)
        door.await_somebody(False)
        assert door.is_shut
        assert not knock(endpoint)
        door.await_somebody(True)
        assert not door.is_shut
        assert knock(endpoint)


def test_an_inbox_is_shut_while_its_neighbour_is_there(ends: tuple[Sockets, Sockets]) -> None:
    """And open until then, and again when that is gone."""
    _, worker = ends
    inbox = worker.listening(LOOPBACK)
    assert knock(inbox.endpoint)
    outbox = join(worker, inbox)
    assert not knock(inbox.endpoint)
    inbox.send([b"down"])
    assert receive(outbox) == [b"down"]  # who is in stays in
    worker.close(outbox)
    wait_until(lambda: inbox.receive() is None and knock(inbox.endpoint))
    join(worker, inbox)
    assert not knock(inbox.endpoint)


def test_an_inbox_of_whom_nothing_is_heard_for_long_is_open(
    ends: tuple[Sockets, Sockets], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its neighbour may have lost the connection without this end having seen it."""
    _, worker = ends
    inbox = worker.listening(LOOPBACK)
    outbox = join(worker, inbox)
    assert inbox.receive() is None
    assert not knock(inbox.endpoint)
    monkeypatch.setattr("dni_async.transport.channels.SILENT_S", 0.0)
    assert inbox.receive() is None
    assert knock(inbox.endpoint)
    outbox.send([b"up"])
    assert receive(inbox) == [b"up"]
    assert not knock(inbox.endpoint)


def join(worker: Sockets, inbox: FrameSocket) -> FrameSocket:
    """A neighbour that has said something."""
    outbox = worker.connected(inbox.endpoint, inbox.key)
    outbox.send([b"up"])
    assert receive(inbox) == [b"up"]
    return outbox


def test_a_coordinator_is_shut_when_it_awaits_nobody(ends: tuple[Sockets, Sockets]) -> None:
    coordinator, worker = ends
    server = coordinator.control_server(LOOPBACK)
    first = worker.control_client(server.endpoint, b"first")
    first.send(Alive(1))
    assert receive(server) == (b"first", Alive(1))
    server.await_workers(False)
    assert not knock(server.endpoint)
    first.send(Alive(2))
    assert receive(server) == (b"first", Alive(2))
    server.await_workers(True)
    second = worker.control_client(server.endpoint, b"second")
    second.send(Alive(3))
    assert receive(server) == (b"second", Alive(3))


def test_a_crowd_is_shut_out_and_leaves_others_in(ends: tuple[Sockets, Sockets]) -> None:
    coordinator, worker = ends
    server = coordinator.control_server(LOOPBACK)
    client = worker.control_client(server.endpoint, b"stage-0")
    client.send(Alive(1))
    assert receive(server) == (b"stage-0", Alive(1))

    def is_shut() -> bool:
        assert server.receive() is None
        return not knock(server.endpoint)

    wait_until(is_shut)  # more knocks than there can be members
    client.send(Alive(2))
    assert receive(server) == (b"stage-0", Alive(2))


def test_a_door_counts_who_has_come() -> None:
    told = iter([(BURST + 1, 0), (0, 0), (0, 3)])
    with closing(Door(listen(LOOPBACK), lambda: next(told))) as door:
        assert not door.look(1.0)
        assert door.is_shut
        assert not door.look(1.0 + LOOK_S / 2)  # asked once in a while
        assert not door.look(1.5)
        assert door.is_shut
        assert door.look(10.0)
        assert not door.is_shut


def test_a_door_is_shut_while_there_is_no_room() -> None:
    half = MOST // 2
    told = iter([(half, 0), (half, 0), (0, 1), (1, 0), (0, MOST)])
    with closing(Door(listen(LOOPBACK), lambda: next(told))) as door:
        shut = []
        for second in range(1, 6):
            door.look(100.0 * second)
            shut.append(door.is_shut)
    assert shut == [False, True, False, True, False]


def test_so_many_may_come_at_once_and_so_many_a_second() -> None:
    crowd = Crowd()
    crowd.came(BURST, 1.0)
    assert not crowd.is_crowd
    for second in range(2, 100):
        crowd.came(int(PER_S), float(second))
        assert not crowd.is_crowd
    crowd.came(1, 99.001)
    assert crowd.is_crowd
    crowd.came(0, 99.9)
    assert crowd.is_crowd
    crowd.came(0, 101.0)
    assert not crowd.is_crowd


@pytest.mark.parametrize("address", ["tcp://192.0.2.9:0", "tcp://no such host:0"])
def test_where_nobody_can_listen(ends: tuple[Sockets, Sockets], address: str) -> None:
    with pytest.raises(LinkError, match=f"cannot listen on {address}: "):
        ends[0].control_server(address)


def test_a_port_is_free_again_when_its_socket_is_closed(ends: tuple[Sockets, Sockets]) -> None:
    _, worker = ends
    inbox = worker.listening(LOOPBACK)
    worker.close(inbox)

    def is_free() -> bool:
        try:
            listen(inbox.endpoint).close()
        except OSError:
            return False
        return True

    wait_until(is_free)
