"""Measure the link to a doctor that serves: round trips, and chunks up and down."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from dni_async.launcher.doctor.link.findings import Figures, rate
from dni_async.launcher.doctor.link.words import (
    CHUNK,
    CHUNK_BYTES,
    GREETED,
    TAKEN,
    Introduction,
    chunk,
    greet,
    ping,
    read_greeting,
    read_pong,
    want,
)
from dni_async.transport.channels import FrameSocket
from dni_async.transport.sockets import Poller
from dni_async.wire.codec import Buffer

__all__ = ["Conversation"]

PINGS: Final = 1000
PING_SHARE: Final = 0.2  # of the seconds
MAX_CHUNKS: Final = 1024  # on their way at once, 64 MB
QUEUED_S: Final = 0.05  # a chunk that takes so much longer than a ping waits behind others
DRAIN_S: Final = 2.0


class Conversation:
    """With one peer, over a socket that is connected or connecting to it."""

    def __init__(self, channel: FrameSocket) -> None:
        self._channel = channel
        self._poller = Poller()
        self._poller.watch(channel)

    def introduce(self, introduction: Introduction, timeout_s: float) -> Introduction | None:
        """Who the other end is; None where it does not say so in time. Raises WireError."""
        self._channel.send(greet(introduction))
        deadline = time.monotonic() + timeout_s
        while (frames := self._await(deadline)) is not None:
            if len(frames) == 2 and bytes(frames[0]) == GREETED:
                return read_greeting(frames[1])
        return None

    def measure(self, seconds: float, timeout_s: float) -> Figures | None:
        """Spend about so many seconds on it; None where a ping has no answer within timeout_s."""
        trips, offsets = [], []
        end = time.monotonic() + PING_SHARE * seconds
        for number in range(PINGS):
            answered = self._ping(number, timeout_s)
            if answered is None:
                return None
            trips.append(answered[0])
            offsets.append(answered)
            if time.monotonic() >= end:
                break
        trip_s, offset_s = min(offsets)
        each_s = (1 - PING_SHARE) / 2 * seconds
        slow_s = sorted(trips)[len(trips) // 2] + QUEUED_S
        # Random bytes, as a tunnel may compress.
        up = self._stream(chunk(os.urandom(CHUNK_BYTES)), TAKEN, each_s, slow_s)
        down = self._stream(want(), CHUNK, each_s, slow_s)
        return Figures(tuple(trips), offset_s, trip_s / 2, up, down)

    def _ping(self, number: int, timeout_s: float) -> tuple[float, float] | None:
        """The round trip, and by how much the other wall clock is ahead, in seconds."""
        sent, sent_ns = time.perf_counter(), time.time_ns()
        self._channel.send(ping(number))
        deadline = time.monotonic() + timeout_s
        while (frames := self._await(deadline)) is not None:
            trip_s = time.perf_counter() - sent
            pong = read_pong(frames)
            if pong is not None and pong[0] == number:
                return trip_s, (pong[1] - sent_ns) / 1e9 - trip_s / 2
        return None

    def _stream(
        self, request: Sequence[Buffer], kind: bytes, seconds: float, slow_s: float
    ) -> float | None:
        """Bytes per second. One more request at a time is on its way for each answer, until they
        wait for each other: then the link is full.
        """
        begun = time.monotonic()
        asked: deque[float] = deque()  # when, of those that are on their way
        answered: list[float] = []
        window = 1
        while True:
            while len(asked) < window:
                self._channel.send(request)
                asked.append(time.monotonic())
            frames = self._await(begun + seconds)
            if frames is None:
                break
            if bytes(frames[0]) != kind:
                continue
            now = time.monotonic()
            answered.append(now - begun)
            if now - asked.popleft() < slow_s:
                window = min(window + 1, MAX_CHUNKS)
        self._drain(kind, len(asked))
        return rate(answered, CHUNK_BYTES)

    def _drain(self, kind: bytes, left: int) -> None:
        """Hear the answers that are still to come, so that they do not disturb what is next."""
        deadline = time.monotonic() + DRAIN_S
        while left > 0 and (frames := self._await(deadline)) is not None:
            left -= bytes(frames[0]) == kind

    def _await(self, deadline: float) -> list[memoryview] | None:
        """The next message, or None when there is none by deadline."""
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return None
            frames = self._channel.receive()
            if frames is not None:
                return frames
            self._poller.wait(left_s)
