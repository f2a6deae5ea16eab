"""The ways in which a worker hears and is heard."""

from __future__ import annotations

from dataclasses import dataclass, field

from dni_async.transport.interface import ControlChannel, Transport, Waiting
from dni_async.wire.messages import Message

__all__ = ["Connections"]


@dataclass(frozen=True, slots=True)
class Connections:
    """transport: makes the links to neighbours. control: to the coordinator.

    waiting: watches control, and each link from the handshake on. lifeline: a descriptor that ends
    when the launcher does; None where that is on another host, and in tests. early: what the
    coordinator has said in the handshake that is not of it, for the loop to do before all else.
    """

    transport: Transport
    control: ControlChannel
    waiting: Waiting
    lifeline: int | None = None
    early: list[Message] = field(default_factory=list)
