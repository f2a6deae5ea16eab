"""A doctor that serves and one that measures, over real sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dni_async.launcher.doctor.link.measure import Conversation
from dni_async.launcher.doctor.link.server import serve
from dni_async.launcher.doctor.link.words import Introduction
from dni_async.transport.channels import FrameServer
from dni_async.transport.keys import KeyRing
from dni_async.transport.rings import make_rings
from dni_async.transport.sockets import open_sockets

US = Introduction("here", "0.1.0", "2.13.0", 4)
THEM = Introduction("there", "0.1.0", "2.13.0", 4)
PATIENCE_S = 10.0
SILENCE_S = 0.5
OURS, THEIRS = make_rings()


@contextmanager
def serving(ring: KeyRing, heard: list[Introduction]) -> Iterator[tuple[str, str]]:
    """Its address and key; the block ends when nobody has asked for a while."""
    listening: list[FrameServer] = []
    is_ready = threading.Event()

    def run() -> None:
        with open_sockets(ring, lambda _: None) as sockets:
            listening.append(sockets.frame_server("tcp://127.0.0.1:0"))
            is_ready.set()
            serve(listening[0], THEM, SILENCE_S, heard.append)

    thread = threading.Thread(target=run)
    thread.start()
    assert is_ready.wait(PATIENCE_S)
    try:
        yield listening[0].endpoint, listening[0].key
    finally:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_a_link_is_measured() -> None:
    heard: list[Introduction] = []
    with serving(OURS, heard) as address, open_sockets(THEIRS) as sockets:
        conversation = Conversation(sockets.connected(*address))
        assert conversation.introduce(US, PATIENCE_S) == THEM
        figures = conversation.measure(0.5, PATIENCE_S)
    assert heard == [US]
    assert figures is not None
    assert 0 < figures.median_s <= figures.p99_s < PATIENCE_S
    assert abs(figures.offset_s) - figures.offset_error_s < 0.01  # it is the same clock
    assert figures.up is not None
    assert figures.down is not None
    assert min(figures.up, figures.down) > 2**20


def test_two_ask_at_once() -> None:
    heard: list[Introduction] = []
    with serving(OURS, heard) as address, open_sockets(THEIRS) as sockets:
        one, other = (Conversation(sockets.connected(*address)) for _ in range(2))
        assert one.introduce(US, PATIENCE_S) == THEM
        assert other.introduce(US, PATIENCE_S) == THEM
    assert heard == [US, US]


def test_a_stranger_has_no_answer() -> None:
    heard: list[Introduction] = []
    with serving(OURS, heard) as address, open_sockets(make_rings()[1]) as sockets:
        channel = sockets.connected(*address)
        assert Conversation(channel).introduce(US, 0.3) is None
        assert Conversation(channel).measure(1, 0.1) is None
        sockets.close(channel)
    assert heard == []
