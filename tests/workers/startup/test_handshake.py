"""What a worker hears in its handshake: the awaited word, and orders that it does afterwards."""

from __future__ import annotations

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.errors import HandshakeError
from dni_async.transport.in_memory import CoordinatorEnd, InMemoryTransport
from dni_async.transport.link import open_inbox
from dni_async.wire.messages import (
    CoordinatorMessage,
    Drain,
    EpochEntered,
    FileHeard,
    Heartbeat,
    LinkHello,
    NeighbourReplaced,
    Ready,
    Start,
    Stop,
    TellAgain,
    Welcome,
)
from dni_async.workers.startup.connections import Connections
from dni_async.workers.startup.handshake import Awaited, Ear, await_start
from dni_async.workers.startup.seat import Seat, Stopped
from dni_async.workers.training.orders import Orders

CONFIG = RunConfig(rule="backprop")
WELCOME = Welcome("run", 2, 0, 1, "cpu", 1, "", "", (64,), False, 10, 100)
ORDERS = [
    Drain("run"),
    EpochEntered("run", 2),
    FileHeard("run", "weights", 0, again=False),
    NeighbourReplaced("run", "below", 1, ""),
    TellAgain("run", 3),
]


@pytest.fixture
def connections() -> Connections:
    """Those of a worker alone; the coordinator is the test."""
    transport = InMemoryTransport()
    control = transport.control_client("memory://coordinator", b"stage-1")
    return Connections(transport, control, transport.waiting())


def coordinator(connections: Connections) -> CoordinatorEnd:
    """Who gives the orders."""
    assert isinstance(connections.transport, InMemoryTransport)
    return connections.transport.coordinator[b"stage-1"]


def say(connections: Connections, *words: CoordinatorMessage) -> None:
    """What the coordinator says."""
    for word in words:
        coordinator(connections).send(word)


def test_orders_that_come_before_start_are_done_when_the_worker_begins(
    connections: Connections,
) -> None:
    seat = Seat(WELCOME, CONFIG, 1, None, None)
    say(connections, *ORDERS[:2], Heartbeat("run"), *ORDERS[2:], Start("run"))
    await_start(seat, connections)
    assert list(coordinator(connections).receive()) == [Ready("run", 1)]
    orders = Orders(seat, connections)
    assert list(orders.early()) == ORDERS
    assert not list(orders.early())
    assert orders.hear() is None


def test_orders_that_come_while_a_neighbour_is_awaited_are_kept_too(
    connections: Connections,
) -> None:
    inbox = open_inbox(connections.transport, "memory://stage-1")
    ear = Ear(1, connections)
    say(connections, *ORDERS)
    awaited = Awaited(inbox, LinkHello, "stage 0")
    assert [ear.heard(awaited) for _ in ORDERS] == [None] * len(ORDERS)
    assert connections.early == ORDERS
    say(connections, Stop("run", "enough"))
    with pytest.raises(Stopped, match="enough"):
        ear.heard(awaited)


def test_a_word_of_the_handshake_out_of_its_turn_is_refused(connections: Connections) -> None:
    say(connections, Start("run"))
    awaited = Awaited(connections.control, Welcome, "the coordinator")
    with pytest.raises(HandshakeError, match="sent Start, awaited was Welcome"):
        Ear(1, connections).heard(awaited)
