"""What two doctors say to each other over a link that is measured; no I/O.

Frame 0 is one byte that says what it is. Whoever listens remembers nothing: each request has its
answers, and that is all.

    greet   h JSON          ->  H JSON          who is there
    ping    p NUMBER        ->  P NUMBER TIME   TIME: nanoseconds since 1970 at the other end
    chunk   c BYTES         ->  C               upwards
    want    w               ->  c BYTES         downwards
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Final

from dni_async.errors import WireError
from dni_async.wire.codec import Buffer

__all__ = [
    "CHUNK",
    "CHUNK_BYTES",
    "GREETED",
    "TAKEN",
    "Introduction",
    "answer",
    "chunk",
    "greet",
    "introduced",
    "ping",
    "read_greeting",
    "read_pong",
    "want",
]

CHUNK_BYTES: Final = 64 * 1024
MAX_GREETING_BYTES: Final = 4096
MAX_WORD: Final = 80  # characters of what a peer says of itself
GREET, GREETED, PING, PONG, CHUNK, TAKEN, WANT = b"h", b"H", b"p", b"P", b"c", b"C", b"w"
_NUMBER: Final = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class Introduction:
    """Who a doctor is: its host's name, versions of dni-async and torch, and of the protocol."""

    host: str
    version: str
    torch: str
    protocol: int


def greet(introduction: Introduction) -> list[Buffer]:
    """The first request."""
    return [GREET, json.dumps(asdict(introduction)).encode()]


def ping(number: int) -> list[Buffer]:
    """Ask for an answer, and for the time there."""
    return [PING, _NUMBER.pack(number)]


def chunk(payload: Buffer) -> list[Buffer]:
    """Something to take."""
    return [CHUNK, payload]


def want() -> list[Buffer]:
    """Ask for a chunk."""
    return [WANT]


def answer(
    frames: Sequence[memoryview], introduction: Introduction, wall_ns: int, payload: Buffer
) -> list[Buffer]:
    """What the listening end says to a request; payload: of the chunk it sends.

    Raises WireError for what is no request.
    """
    kind = bytes(frames[0]) if frames else b""
    if kind == GREET and len(frames) == 2:
        read_greeting(frames[1])
        return [GREETED, greet(introduction)[1]]
    if kind == PING and len(frames) == 2 and len(frames[1]) == _NUMBER.size:
        return [PONG, bytes(frames[1]), _NUMBER.pack(wall_ns)]
    if kind == CHUNK and len(frames) == 2:
        return [TAKEN]
    if kind == WANT and len(frames) == 1:
        return [CHUNK, payload]
    raise WireError("no request of a doctor")


def introduced(frames: Sequence[memoryview]) -> Introduction | None:
    """Who asks; None where it is another request. Raises WireError."""
    return read_greeting(frames[1]) if len(frames) == 2 and bytes(frames[0]) == GREET else None


def read_greeting(frame: Buffer) -> Introduction:
    """Who the other end says it is, in short printable words. Raises WireError."""
    if len(frame) > MAX_GREETING_BYTES:
        raise WireError(
            f"greeting has {len(frame)} bytes, at most {MAX_GREETING_BYTES} are allowed"
        )
    try:
        said = json.loads(bytes(frame))
    except (ValueError, RecursionError):
        raise WireError("greeting is not JSON") from None
    names = {field.name for field in fields(Introduction)}
    if not isinstance(said, dict) or set(said) != names:
        raise WireError(f"greeting must name {', '.join(sorted(names))}")
    if type(said["protocol"]) is not int:
        raise WireError("protocol is no integer")
    words = {name: _word(said[name]) for name in ("host", "version", "torch")}
    return Introduction(protocol=said["protocol"], **words)


def read_pong(frames: Sequence[memoryview]) -> tuple[int, int] | None:
    """The number that was sent and the time there, or None where this is no pong."""
    if len(frames) != 3 or bytes(frames[0]) != PONG:
        return None
    if len(frames[1]) != _NUMBER.size or len(frames[2]) != _NUMBER.size:
        return None
    return _NUMBER.unpack(frames[1])[0], _NUMBER.unpack(frames[2])[0]


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise WireError("what should be text is none")
    return "".join(each for each in value[:MAX_WORD] if each.isprintable())
