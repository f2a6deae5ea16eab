"""The end of a measured link that listens: answers other doctors, and remembers nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

from dni_async.errors import LinkError, WireError
from dni_async.launcher.doctor.link.words import CHUNK_BYTES, Introduction, answer, introduced
from dni_async.transport.channels import FrameServer
from dni_async.transport.sockets import Poller

__all__ = ["serve"]


def serve(
    server: FrameServer,
    introduction: Introduction,
    silence_s: float,
    greeted: Callable[[Introduction], None],
) -> None:
    """Answer until nobody has asked anything for silence_s. greeted: hears who asks."""
    poller = Poller()
    poller.watch(server)
    payload = os.urandom(CHUNK_BYTES)
    deadline = time.monotonic() + silence_s
    while (left_s := deadline - time.monotonic()) > 0:
        received = server.receive()
        if received is None:
            poller.wait(left_s)
            continue
        peer, frames = received
        # Whoever has been admitted and asks for nothing that there is, gets nothing.
        with suppress(WireError, LinkError):
            server.send(peer, answer(frames, introduction, time.time_ns(), payload))
            who = introduced(frames)
            if who is not None:
                greeted(who)
            deadline = time.monotonic() + silence_s
