"""What doctors say to each other: every request has its answer, and anything else is refused."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest

from dni_async.errors import WireError
from dni_async.launcher.doctor.link.words import (
    CHUNK,
    GREETED,
    TAKEN,
    Introduction,
    answer,
    chunk,
    greet,
    introduced,
    ping,
    read_greeting,
    read_pong,
    want,
)
from dni_async.wire.codec import Buffer

US = Introduction("here", "0.1.0", "2.13.0", 4)
THEM = Introduction("there", "0.1.0", "2.13.0", 4)


def answered(frames: Sequence[Buffer]) -> list[memoryview]:
    """The listening end's answer, as it arrives."""
    views = [memoryview(frame) for frame in frames]
    return [memoryview(frame) for frame in answer(views, THEM, 5, b"payload")]


def test_every_request_has_its_answer() -> None:
    kind, greeting = answered(greet(US))
    assert bytes(kind) == GREETED
    assert read_greeting(greeting) == THEM
    assert read_pong(answered(ping(7))) == (7, 5)
    assert answered(chunk(b"bytes")) == [TAKEN]
    assert answered(want()) == [CHUNK, b"payload"]


def test_who_asks() -> None:
    assert introduced([memoryview(frame) for frame in greet(US)]) == US
    assert introduced([memoryview(frame) for frame in ping(1)]) is None


@pytest.mark.parametrize(
    "frames",
    [[], [b""], [b"x"], [b"p"], [b"p", b"short"], [b"h", b"{}"], [b"w", b"more"], [b"c"], [b"H"]],
)
def test_what_is_no_request(frames: list[bytes]) -> None:
    with pytest.raises(WireError):
        answered(frames)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff",
        b"[]",
        b"1" * 5000,
        b"[" * 4000,
        json.dumps({"host": "a", "version": "b", "torch": "c"}).encode(),
        json.dumps({"host": "a", "version": "b", "torch": "c", "protocol": True}).encode(),
        json.dumps({"host": 1, "version": "b", "torch": "c", "protocol": 4}).encode(),
    ],
)
def test_what_is_no_greeting(said: bytes) -> None:
    with pytest.raises(WireError):
        read_greeting(said)


def test_what_a_peer_says_of_itself_cannot_disturb_a_terminal() -> None:
    said = {"host": "\x1b[2Ja\n" + "b" * 200, "version": "c", "torch": "d", "protocol": 4}
    host = read_greeting(json.dumps(said).encode()).host
    assert host.startswith("[2Jab")
    assert len(host) <= 80


@pytest.mark.parametrize("frames", [[b"P"], [b"P", bytes(8), b""], [b"C", bytes(8), bytes(8)]])
def test_what_is_no_pong(frames: list[bytes]) -> None:
    assert read_pong([memoryview(frame) for frame in frames]) is None


def test_any_bytes_are_a_request_or_refused() -> None:
    draw = random.Random(0)
    for _ in range(2000):
        frames = [draw.choice([b"h", b"p", b"c", b"w", draw.randbytes(1)])]
        frames += [draw.randbytes(draw.choice([0, 1, 8, 40])) for _ in range(draw.randrange(3))]
        try:
            answered(frames)
        except WireError:
            continue
