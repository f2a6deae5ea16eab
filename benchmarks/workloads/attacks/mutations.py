"""Frames that have been tampered with: decoded here, or said to a port."""

from __future__ import annotations

import random
import struct
import time
from collections import Counter
from socket import socket
from typing import Any

import psutil

from benchmarks.workloads.attacks.strangers import greeting
from dni_async.errors import WireError
from dni_async.wire.codec import decode, encode
from dni_async.wire.messages import (
    PROTOCOL,
    Activation,
    Credit,
    EpochLoss,
    Hello,
    Message,
    TensorMeta,
)

VALID: list[Message] = [
    Hello(PROTOCOL, "0123456789abcdef", 0, 1, "host", "tcp://127.0.0.1:1"),
    Credit("0123456789abcdef", (1, 2, 3)),
    Activation("run", 7, 3, "train", True, (TensorMeta("float32", (2, 3)),)),
    EpochLoss("run", 3, 0.5, 60_000),
]


def mutated(frame: bytes, chance: random.Random) -> bytes:
    """frame with one to four of its bytes changed, left out or doubled."""
    bytes_now = bytearray(frame)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(bytes_now) or 1)
        match chance.randrange(4):
            case 0:
                bytes_now[at : at + 1] = chance.randbytes(1)
            case 1:
                del bytes_now[at : at + chance.randint(1, 8)]
            case 2:
                bytes_now[at:at] = bytes_now[: chance.randint(1, 32)]
            case _:
                bytes_now[at : at + 1] = bytes([0xDD, 0xFF, 0xFF, 0xFF, 0xFF])  # a long array
    return bytes(bytes_now)


def decode_mutated(count: int, chance: random.Random) -> dict[str, Any]:
    """Decode mutated headers: each is a message or a WireError, and nothing else is raised."""
    valid = [bytes(encode(message)[0]) for message in VALID]
    process = psutil.Process()
    outcomes: Counter[str] = Counter()
    before = process.memory_info().rss
    began = time.perf_counter()
    for number in range(count):
        try:
            decode([mutated(valid[number % len(valid)], chance)])
            outcomes["messages"] += 1
        except WireError:
            outcomes["refused"] += 1
    return {
        "decoded_frames": count,
        "decoded_messages": outcomes["messages"],
        "decoded_refused": outcomes["refused"],
        "decode_seconds": round(time.perf_counter() - began, 2),
        "decode_growth_bytes": process.memory_info().rss - before,
    }


def babble(stranger: socket, count: int, chance: random.Random) -> None:
    """Send count mutated frames, as ZeroMQ frames them, until the other end hangs up."""
    valid = [bytes(encode(message)[0]) for message in VALID]
    said = [greeting(b"NULL") if chance.random() < 0.5 else greeting(b"CURVE")]
    for _ in range(count):
        body = mutated(chance.choice(valid), chance)
        said.append(struct.pack(">BQ", chance.choice((2, 3, 6)), len(body)) + body)
    try:
        stranger.sendall(b"".join(said))
    except OSError:  # it was cut off, as it should be
        return
