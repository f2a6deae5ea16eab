"""By which keys two doctors know each other: those of a folder, or of an invitation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dni_async.errors import ConfigError
from dni_async.transport.keys import KeyRing, read_keys
from dni_async.transport.rings import (
    INVITATION_VARIABLE,
    invitation_of,
    make_rings,
    read_invitation,
)

__all__ = ["Access", "find_access"]


@dataclass(frozen=True, slots=True)
class Access:
    """visits: the keys to visit with, None where nobody is; hosts: the key that peers serve by.

    serves: the keys to be visited with, None where nobody is. invitation: what visitors need for
    that; empty where both ends have a folder.
    """

    visits: KeyRing | None = None
    hosts: str = ""
    serves: KeyRing | None = None
    invitation: str = ""


def find_access(
    keys: Path | None, environment: Mapping[str, str], *, visits: bool, serves: bool
) -> Access:
    """Who visits goes by the folder or the environment's invitation; who serves makes one.

    With a folder both ends have the workers' pair. Raises ConfigError for keys that cannot be read
    or are not there.
    """
    if not visits and not serves:
        return Access()
    if keys is not None:
        ring = read_keys(keys.expanduser(), "worker")
        return Access(ring, ring.own.public.decode(), ring)
    visiting = _invited(environment) if visits else None
    hosts = "" if visiting is None else visiting.coordinator.decode()
    if not serves:
        return Access(visiting, hosts)
    own, guest = make_rings()
    return Access(visiting, hosts, own, invitation_of(guest))


def _invited(environment: Mapping[str, str]) -> KeyRing:
    if not environment.get(INVITATION_VARIABLE):
        raise ConfigError(
            "peer: dni-doctor --serve prints there how it is visited, by an invitation in the "
            f"environment variable {INVITATION_VARIABLE}; or say the same --keys DIR at both ends"
        )
    return read_invitation(environment[INVITATION_VARIABLE])
