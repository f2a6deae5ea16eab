"""Where memory is handed over: another user of the host neither gets, gives nor stops it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch

from dni_async.system.machine import unix_address
from dni_async.transport.link import Link, open_inbox, open_outbox
from dni_async.transport.slots.greeting import new_name
from dni_async.transport.slots.handover import SlotListener
from dni_async.transport.slots.host import can_share_memory, offer_host_slots
from dni_async.transport.sockets import open_sockets
from dni_async.wire.messages import LinkHello, LinkReady
from dni_async.workers.startup.listening import inbox_on
from tests.transport.ring import lone_ring
from tests.transport.test_link import large, receive, send_batch, wait_for

pytestmark = [
    pytest.mark.skipif(not can_share_memory(), reason="needs sealed anonymous files"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user"),
]
NOBODY = 65534
NUM_STRANGERS = 200


@contextmanager
def stranger(act: Callable[[], object]) -> Iterator[None]:
    """A process of another user that has acted, and holds what it has until the block ends."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            os.setuid(NOBODY)
            held = act()
            theirs.sendall(b"x")
            theirs.recv(1)
            del held
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        try:
            assert ours.recv(1) == b"x"
            yield
        finally:
            ours.close()
            os.waitpid(pid, 0)


def connect_to(path: str) -> Callable[[], object]:
    """Connects many times, and says what no neighbour would."""

    def act() -> object:
        held = []
        for _ in range(NUM_STRANGERS):
            held.append(socket.socket(socket.AF_UNIX))
            held[-1].connect(unix_address(path))
            held[-1].sendall(b"mine")
        return held

    return act


def listen_at(path: str) -> Callable[[], object]:
    """Listens there."""

    def act() -> object:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(unix_address(path))
        listening.listen()
        return listening

    return act


@pytest.fixture
def ends() -> Iterator[tuple[Link, Link]]:
    """A link between two workers in the same place that have joined from elsewhere, lower first."""
    with open_sockets(lone_ring()) as sockets, ExitStack() as stack:
        near = f"ipc://{new_name()}"
        upper = open_inbox(sockets, "tcp://127.0.0.1:0", near=near, shares_memory=True)
        lower = open_outbox(sockets, near, upper.key)
        stack.callback(upper.close)
        lower.share_memory("run", 2)
        lower.send(LinkHello("run", 0, 2))
        assert receive(upper)[0] == LinkHello("run", 0, 2)
        upper.send(LinkReady("run", 1, 0, upper.slots_at))
        assert receive(lower)[0] == LinkReady("run", 1, 0, upper.slots_at)
        yield lower, upper


def test_another_user_who_connects_first_does_not_switch_sharing_off(
    ends: tuple[Link, Link],
) -> None:
    lower, upper = ends
    with stranger(connect_to(upper.slots_at)):
        send_batch(lower, 0, large(0))  # offers memory, and travels in frames
        assert torch.equal(receive(upper)[1][0], large(0))
        lower.release(0)
        wait_for(lower)
        assert lower.receive() is None  # heard the answer
        assert send_batch(lower, 1, large(1)).tensors[0].place >= 0
        assert torch.equal(receive(upper)[1][0], large(1))


def test_only_other_users_are_a_time_out() -> None:
    listener = SlotListener(new_name(), timeout_s=0.2)
    with stranger(connect_to(listener.path)), pytest.raises(TimeoutError):
        listener.receive("run")
    listener.close()


def test_memory_is_not_handed_to_another_user(tmp_path: Path) -> None:
    name = new_name()
    with (
        stranger(listen_at(name)),
        pytest.raises(PermissionError, match=f"another user .{NOBODY}. listens there"),
    ):
        offer_host_slots(name, "run", torch.zeros(4, 65536), 2)


def test_another_user_who_takes_every_name_that_can_be_foretold_stops_no_replacement() -> None:
    """Names without a file can be listed by anybody, so the next ones must not follow from them."""
    inbox = inbox_on("127.0.0.1", "")
    with open_sockets(lone_ring()) as sockets, ExitStack() as stack:
        first = inbox.open(sockets)
        stack.callback(first.close)
        for stem in (first.channel.near.removeprefix("ipc://"), first.slots_at):
            for end in (",1", ",1.slots", ",2", ",2.slots"):
                stack.enter_context(stranger(listen_at(f"{stem}{end}")))
        for incarnation in (1, 2):
            inbox.open(sockets, incarnation).close()
