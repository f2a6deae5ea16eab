"""The keys of one run: made for it, and told to its members.

Without ``--keys`` a run has pairs of its own. A worker of the same host gets its ring through the
fork server's pipe, one that joins in an invitation: one word that holds the coordinator's public
key and the workers' secret one. Whoever has it can take part in that run.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any, Final

import zmq
from zmq.utils import z85

from dni_async.errors import ConfigError
from dni_async.transport.keys import KeyPair, KeyRing

__all__ = [
    "INVITATION_VARIABLE",
    "invitation_of",
    "make_key_pair",
    "make_rings",
    "read_invitation",
    "ring_from",
    "told_ring",
]

INVITATION_VARIABLE: Final = "DNI_INVITATION"
"""Where who joins has the invitation from: what stands on a command line all users can read."""

_KEY_BYTES: Final = 32
_CHECK_BYTES: Final = 4
_WORD: Final = re.compile(r"dni1_([A-Za-z0-9_-]{91})")  # of both keys and the check


def make_key_pair() -> KeyPair:
    """A new CURVE key pair."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public, secret)


def make_rings() -> tuple[KeyRing, KeyRing]:
    """The coordinator's of a new run, and that of all its workers."""
    coordinator, worker = make_key_pair(), make_key_pair()
    allowed = frozenset([worker.public])
    return (
        KeyRing(coordinator, coordinator.public, allowed),
        KeyRing(worker, coordinator.public, allowed),
    )


def invitation_of(worker: KeyRing) -> str:
    """The word by which others join as workers with that ring."""
    keys = z85.decode(worker.coordinator) + z85.decode(worker.own.secret)
    return "dni1_" + base64.urlsafe_b64encode(keys + _check(keys)).decode().rstrip("=")


def read_invitation(text: str) -> KeyRing:
    """A worker's ring. Raises ConfigError for what is no invitation, or not the whole of one."""
    found = _WORD.fullmatch(text.strip())
    whole = b"" if found is None else _decoded(found[1])
    keys, check = whole[:-_CHECK_BYTES], whole[-_CHECK_BYTES:]
    if len(keys) != 2 * _KEY_BYTES or check != _check(keys):
        raise ConfigError(
            f"{INVITATION_VARIABLE}: is no whole invitation; copy the line that the other side "
            "printed, from dni1_ on 96 letters, digits, - and _"
        )
    secret = z85.encode(keys[_KEY_BYTES:])
    own = KeyPair(zmq.curve_public(secret), secret)
    return KeyRing(own, z85.encode(keys[:_KEY_BYTES]), frozenset([own.public]))


def told_ring(ring: KeyRing) -> dict[str, Any]:
    """The ring as plain values, for a pipe that nobody else can read."""
    return {
        "public": ring.own.public.decode(),
        "secret": ring.own.secret.decode(),
        "coordinator": ring.coordinator.decode(),
        "allowed": sorted(key.decode() for key in ring.allowed),
    }


def ring_from(told: dict[str, Any]) -> KeyRing:
    """What told_ring was given."""
    own = KeyPair(told["public"].encode(), told["secret"].encode())
    allowed = frozenset(key.encode() for key in told["allowed"])
    return KeyRing(own, told["coordinator"].encode(), allowed)


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""


def _check(keys: bytes) -> bytes:
    """By which a word that was cut off or mistyped is known."""
    return hashlib.sha256(b"dni-async invitation" + keys).digest()[:_CHECK_BYTES]
