"""Where a stage listens for the one below, and what others are told of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from dni_async.system import place_id
from dni_async.transport.interface import Transport
from dni_async.transport.link import Link, open_inbox

__all__ = ["InboxAddress", "inbox_beside", "inbox_on"]


@dataclass(frozen=True, slots=True)
class InboxAddress:
    """address: ipc://PATH, or tcp://HOST:0 for any port.

    near: ipc://@NAME, where it listens too for who is in the same place; may be empty. advertised:
    the host that others are told, empty when that is the one of address.
    """

    address: str
    near: str = ""
    advertised: str = ""

    @property
    def place(self) -> str:
        """Who is in the same one can connect to near; empty without near."""
        return place_id() if self.near else ""

    def open(self, transport: Transport, incarnation: int = 0) -> Link:
        """Listen for that incarnation of the stage below. Raises LinkError.

        Each has files and names of its own, or another port of the same host.
        """
        suffix = f",{incarnation}" if incarnation else ""
        has_ports = self.address.startswith("tcp://")
        return open_inbox(
            transport,
            self.address + ("" if has_ports else suffix),
            near=self.near and self.near + suffix,
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
    """Of a worker whose neighbours may be anywhere: on a port of that address of its host.

    The name for those in the same place says nothing: names without a file can be listed.
    """
    near = f"ipc://@dni-{secrets.token_hex(8)}" if place_id() else ""
    is_told = advertised and advertised != interface
    return InboxAddress(f"tcp://{interface}:0", near, advertised if is_told else "")
