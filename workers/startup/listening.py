"""Where a stage listens for the one below, and what others are told of it."""

from __future__ import annotations

from dataclasses import dataclass

from dni_async.system.machine import place_id
from dni_async.transport.interface import Transport
from dni_async.transport.link import Link, open_inbox
from dni_async.transport.slots.greeting import new_name

__all__ = ["InboxAddress", "inbox_beside", "inbox_on"]


@dataclass(frozen=True, slots=True)
class InboxAddress:
    """address: ipc://PATH, or tcp://HOST:0 for any port.

    is_near: it listens too for who is in the same place, by a name without a file. advertised: the
    host that others are told, empty when that is the one of address.
    """

    address: str
    is_near: bool = False
    advertised: str = ""

    @property
    def place(self) -> str:
        """Who is in the same one can connect to the name without a file; empty without one."""
        return place_id() if self.is_near else ""

    def open(self, transport: Transport, incarnation: int = 0) -> Link:
        """Listen for that incarnation of the stage below. Raises LinkError.

        Each has files of its own, or another port of the same host, another key and another name:
        names without a file can be listed by anybody, so that they are new each time.
        """
        suffix = f",{incarnation}" if incarnation else ""
        has_ports = self.address.startswith("tcp://")
        return open_inbox(
            transport,
            self.address + ("" if has_ports else suffix),
            near=f"ipc://{new_name()}" if self.is_near else "",
            shares_memory=True,
        )

    def told(self, link: Link) -> str:
        """The address that others are to connect to."""
        if not self.advertised:
            return link.endpoint
        return f"tcp://{self.advertised}:{link.endpoint.rpartition(':')[2]}"


def inbox_beside(coordinator: str, name: str) -> InboxAddress:
    """Of a worker on the coordinator's host: beside its socket file, or on a port of its host."""
    scheme, _, rest = coordinator.partition("://")
    if scheme == "ipc":
        return InboxAddress(f"ipc://{rest.rpartition('/')[0]}/{name}")
    return InboxAddress(f"tcp://{rest.rpartition(':')[0]}:0")


def inbox_on(interface: str, advertised: str) -> InboxAddress:
    """Of a worker whose neighbours may be anywhere: on a port of that address of its host."""
    is_told = advertised and advertised != interface
    return InboxAddress(f"tcp://{interface}:0", bool(place_id()), advertised if is_told else "")
