"""A worker's link above: how much memory it offers, and that it is made anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dni_async.config.run_config import RunConfig
from dni_async.transport.link import Link, open_inbox
from dni_async.transport.slots.host import can_share_memory
from dni_async.transport.sockets import Poller, Sockets, open_sockets
from dni_async.wire.messages import Activation, LinkHello, LinkReady, Message, Welcome
from dni_async.wire.tensors import VIEW_BYTES
from dni_async.workers.startup.connections import Connections
from dni_async.workers.startup.neighbours import Neighbours, greet_above
from dni_async.workers.startup.seat import Seat

CONFIG = RunConfig(rule="backprop")
WELCOME = Welcome("run", 2, 0, 1, "cpu", 1, "", "", (64,), False, 10, 100)


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Sockets of one context, closed after the test."""
    with open_sockets() as opened:
        yield opened


def hear(link: Link) -> Message:
    """The next message, waited for."""
    poller, deadline = Poller(), time.monotonic() + 10
    poller.watch(link.channel)
    while (received := link.receive()) is None:
        assert time.monotonic() < deadline, "nothing came"
        poller.wait(0.1)
    return received[0]


def send_large(link: Link, batch_id: int) -> bool:
    """Whether a large activation went in shared memory."""
    hidden = torch.zeros(4, VIEW_BYTES // 4)
    link.offer_slots(hidden)
    metas, inline = link.put(batch_id, [hidden])
    link.send(Activation("run", batch_id, 0, "train", False, metas), inline)
    return not inline


@pytest.mark.skipif(not can_share_memory(), reason="needs sealed anonymous files")
def test_there_are_as_many_slots_as_the_window_is_wide_and_a_new_link_has_as_many(
    sockets: Sockets, tmp_path: Path
) -> None:
    uppers = [open_inbox(sockets, f"ipc://{tmp_path}/{n}", shares_memory=True) for n in "ab"]
    outbox = greet_above(sockets, (uppers[0].endpoint, ""), CONFIG, ("run", 0))
    seat = Seat(WELCOME, CONFIG, 0, None, outbox)
    poller = Poller()
    poller.watch(outbox.channel)
    control = sockets.control_client(f"ipc://{tmp_path}/control", b"stage-0")
    neighbours = Neighbours(seat, Connections(sockets, control, poller), num_slots=1)
    for upper in uppers:
        assert hear(upper) == LinkHello("run", 0, CONFIG.places)
        link = seat.outbox
        assert link is not None
        upper.send(LinkReady("run", 1, 0, upper.slots_at))
        assert isinstance(hear(link), LinkReady)
        assert not send_large(link, 0)  # shows how big a slot must be
        assert isinstance(hear(upper), Activation)
        poller.wait(10)
        assert link.receive() is None  # heard that the other end has mapped it
        assert send_large(link, 1)
        assert not send_large(link, 2)  # the one slot is taken
        if upper is uppers[0]:
            neighbours.connect_outbox(uppers[1].endpoint, "")
    for upper in uppers:
        upper.close()
