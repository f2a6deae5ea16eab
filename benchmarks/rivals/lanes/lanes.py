"""A lane carries tensors one way between two processes, and credits back; ours is a Link.

Every lane is driven alike: the lower end sends while fewer than ``window`` tensors are without
credit; the upper end makes a tensor of what arrived and gives the place back. Tensors are the
same on every lane; what a lane does to get one across is its own business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from dni_async.transport.link import Link, open_inbox, open_outbox
from dni_async.transport.sockets import Poller, Sockets
from dni_async.wire.messages import Activation, Credit, LinkHello, LinkReady, Message

__all__ = ["LinkLower", "LinkUpper", "Lower", "Task", "Upper", "link_address"]

RUN_ID = "benchmark"
WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Task:
    """One measurement at one end.

    lane: its name. address: where the upper end listens (the lower end is told what became of
    it, and the key). num_messages: all that will ever be sent, the warm-up included. ring: the
    keys of both ends, as rings tells them.
    """

    lane: str
    address: str
    size_bytes: int
    window: int
    num_messages: int
    ring: dict[str, Any]
    key: str = ""


class Lower(Protocol):
    """The sending end."""

    def send(self, batch_id: int, tensor: torch.Tensor) -> None:
        """Let tensor go; it does not change before its credit has come."""

    def credit(self) -> int:
        """Wait for the next credit; its batch_id."""

    def close(self) -> None:
        """Give back what the sockets' owner does not."""


class Upper(Protocol):
    """The receiving end. key: what it is known by, where it has one."""

    endpoint: str
    key: str

    def receive(self) -> tuple[int, torch.Tensor]:
        """Wait for the next tensor; its batch_id and itself."""

    def give_credit(self, batch_id: int) -> None:
        """The tensor of batch_id is not looked at any more."""

    def close(self) -> None:
        """Give back what the sockets' owner does not."""


def link_address(task: Task) -> str:
    """Where the upper end of a socket lane is to listen."""
    return "tcp://127.0.0.1:0" if "-tcp" in task.lane else f"ipc://{task.address}"


class LinkLower:
    """Our link's sending end, as a worker uses it."""

    def __init__(self, sockets: Sockets, task: Task, *, shares_memory: bool) -> None:
        self.link = open_outbox(sockets, task.address, task.key)
        if shares_memory:
            self.link.share_memory(RUN_ID, task.window)
        self._poller = Poller()
        self._poller.watch(self.link.channel)
        self.link.send(LinkHello(RUN_ID, 0, task.window))
        _next(self.link, self._poller)  # and where slots are handed over

    def send(self, batch_id: int, tensor: torch.Tensor) -> None:
        """Into its slot or into frames, and the message off."""
        self.link.offer_slots(tensor)
        metas, inline = self.link.put(batch_id, [tensor])
        self.link.send(Activation(RUN_ID, batch_id, 0, "train", False, metas), inline)

    def credit(self) -> int:
        """Wait for it, and free the slot."""
        message, _ = _next(self.link, self._poller)
        assert isinstance(message, Credit)
        (batch_id,) = message.batch_ids
        self.link.release(batch_id)
        return batch_id

    def close(self) -> None:
        """The link's own end."""
        self.link.close()


class LinkUpper:
    """Our link's receiving end, as a worker uses it."""

    def __init__(self, sockets: Sockets, task: Task, *, shares_memory: bool) -> None:
        self.link = open_inbox(sockets, link_address(task), shares_memory=shares_memory)
        self.endpoint, self.key = self.link.endpoint, self.link.key
        self._poller = Poller()
        self._poller.watch(self.link.channel)

    def receive(self) -> tuple[int, torch.Tensor]:
        """A view of the slot or of the frame; small ones are copied."""
        message, tensors = _next(self.link, self._poller)
        if isinstance(message, LinkHello):
            self.link.send(LinkReady(RUN_ID, 1, 0, self.link.slots_at))
            message, tensors = _next(self.link, self._poller)
        assert isinstance(message, Activation)
        return message.batch_id, tensors[0]

    def give_credit(self, batch_id: int) -> None:
        """Release it here, and say so."""
        self.link.release(batch_id)
        self.link.send(Credit(RUN_ID, (batch_id,)))

    def close(self) -> None:
        """The link's own end."""
        self.link.close()


def _next(link: Link, poller: Poller) -> tuple[Message, list[torch.Tensor]]:
    """As the workers' loop: take what is there, else sleep until something is."""
    while (received := link.receive()) is None:
        poller.wait(WAIT_S)
    return received
