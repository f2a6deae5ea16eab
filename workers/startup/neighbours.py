"""A worker's links to its neighbours: greeted, and made anew when a neighbour has been replaced."""

from __future__ import annotations

from dni_async.config.run_config import RunConfig
from dni_async.transport.interface import Transport
from dni_async.transport.link import Link, open_outbox
from dni_async.wire.messages import InboxMoved, LinkHello, LinkReady
from dni_async.workers.startup.connections import Connections
from dni_async.workers.startup.seat import Seat

__all__ = ["Neighbours", "greet_above"]


def greet_above(
    transport: Transport, peer: tuple[str, str], config: RunConfig, who: tuple[str, int]
) -> Link:
    """Connect to the stage above, and say who is there: of which run, which stage.

    peer: the endpoint of its inbox, and the key that this is known by. Raises LinkError.
    """
    outbox = open_outbox(transport, *peer, omits_zeros=config.wire_zeros == "omit")
    outbox.send(LinkHello(*who, config.places))
    return outbox


class Neighbours:
    """Exchanges the links of a seat. Every incarnation of a neighbour has sockets of its own.

    So nothing that was sent to or by a worker that has died reaches anybody afterwards. num_slots:
    how many activations the link above may hold in shared memory: the window that is really used.
    """

    def __init__(self, seat: Seat, connections: Connections, *, num_slots: int) -> None:
        self._seat = seat
        self._transport = connections.transport
        self._waiting = connections.waiting
        self._num_slots = num_slots
        self._share_memory()
        self._awaits_hello = self._awaits_ready = False

    def move_inbox(self, incarnation: int) -> InboxMoved:
        """Listen for that incarnation of the stage below; the answer for the coordinator."""
        seat = self._seat
        # The coordinator tells no source of a stage below.
        assert seat.inbox is not None
        assert seat.listens is not None
        seat.inbox = self._exchange(seat.inbox, seat.listens.open(self._transport, incarnation))
        self._awaits_hello = True
        inbox, endpoint = seat.inbox, seat.listens.told(seat.inbox)
        return InboxMoved(
            seat.run_id, seat.stage, incarnation, endpoint, inbox.channel.near, inbox.key
        )

    def connect_outbox(self, endpoint: str, key: str) -> None:
        """Turn to the new stage above, which listens there by that key, and greet it."""
        seat = self._seat
        assert seat.outbox is not None
        who = (seat.run_id, seat.stage)
        opened = greet_above(self._transport, (endpoint, key), seat.config, who)
        seat.outbox = self._exchange(seat.outbox, opened)
        self._share_memory()
        self._awaits_ready = True

    def hears_hello(self, hello: LinkHello) -> bool:
        """Whether this is the first word of a new stage below, and as it should be."""
        seat, is_awaited = self._seat, self._awaits_hello
        self._awaits_hello = False
        return is_awaited and (hello.stage, hello.window) == (seat.stage - 1, seat.config.places)

    def answer(self, next_batch_id: int) -> None:
        """Tell the new stage below where the work goes on."""
        seat, inbox = self._seat, self._seat.inbox
        assert inbox is not None
        inbox.send(LinkReady(seat.run_id, seat.stage, next_batch_id, inbox.slots_at))

    def hears_ready(self, ready: LinkReady) -> bool:
        """Whether this is the first word of a new stage above, and as it should be."""
        is_awaited, self._awaits_ready = self._awaits_ready, False
        return is_awaited and ready.stage == self._seat.stage + 1

    def _share_memory(self) -> None:
        """Let the link above offer slots for large tensors, where the run allows it."""
        seat = self._seat
        if seat.outbox is not None and seat.config.transport == "auto":
            seat.outbox.share_memory(seat.run_id, self._num_slots)

    def _exchange(self, old: Link, new: Link) -> Link:
        """Leave the old link as it is, unread; its counts go on with the new one."""
        self._waiting.forget(old.channel)
        old.close()
        self._transport.close(old.channel)
        new.frame_bytes, new.shared_bytes = old.frame_bytes, old.shared_bytes
        new.received_bytes = old.received_bytes
        self._waiting.watch(new.channel)
        return new
