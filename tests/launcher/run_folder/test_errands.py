"""Errands are done in order, beside the loop; what comes of them is heard in the loop."""

from __future__ import annotations

import select
import threading
import time

from dni_async.launcher.run_folder.errands import Errands

PATIENCE_S = 10.0


def test_the_loop_goes_on_and_hears_in_order() -> None:
    errands, gate = Errands(), threading.Event()
    heard: list[object] = []
    threads: set[int] = set()

    def slow() -> str:
        threads.add(threading.get_ident())
        assert gate.wait(PATIENCE_S)
        return "slow"

    errands.run(slow, heard.append)
    errands.run(lambda: "quick", heard.append)
    errands.look()
    assert heard == []
    gate.set()
    deadline = time.monotonic() + PATIENCE_S
    while len(heard) < 2:
        assert time.monotonic() < deadline
        errands.look()
    assert heard == ["slow", "quick"]
    assert threads != {threading.get_ident()}
    errands.finish()


def test_what_fails_is_told_and_the_next_is_done() -> None:
    errands = Errands()
    heard: list[object] = []

    def full() -> None:
        raise OSError(28, "No space left on device")

    def wrong() -> None:
        raise ValueError("of ours")

    def asks_for_more(outcome: object) -> None:
        heard.append(outcome)
        errands.run(lambda: "more", heard.append)

    errands.run(full, heard.append)
    errands.run(wrong, heard.append)
    errands.run(lambda: "last", asks_for_more)
    errands.finish()
    assert [str(each) for each in heard] == [
        "[Errno 28] No space left on device",
        "[Errno None] ValueError: of ours",
        "last",
        "more",
    ]
    assert [each.strerror for each in heard if isinstance(each, OSError)] == [
        "No space left on device",
        "ValueError: of ours",
    ]


def test_the_loop_is_woken_when_something_has_been_done() -> None:
    errands, poll = Errands(), select.poll()
    heard: list[object] = []
    poll.register(errands.fileno(), select.POLLIN)
    assert poll.poll(0) == []
    errands.run(lambda: "done", heard.append)
    assert poll.poll(PATIENCE_S * 1000)
    while not heard:
        errands.look()
    assert poll.poll(0) == []
    errands.run(lambda: "last", heard.append)
    errands.finish()
    assert heard == ["done", "last"]


def test_without_errands_there_is_no_thread() -> None:
    before = threading.active_count()
    errands = Errands()
    errands.look()
    errands.finish()
    assert threading.active_count() == before
