"""What takes a disk long, done one after another beside the coordinator's loop."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

__all__ = ["Errand", "Errands", "Runner"]

T = TypeVar("T")
Errand = Callable[[], T]


class Runner(Protocol):
    """Does errands in the order in which they are given, perhaps later."""

    def run(self, errand: Errand[T], done: Callable[[T | OSError], None]) -> None:
        """Do errand, then call done with what it gave, or with the OSError that it raised."""


class Errands:
    """A thread for errands, which touch files alone; done is called by the thread that looks.

    Reading and hashing let other threads go on, so the loop goes its turns meanwhile.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._ended: SimpleQueue[Any] = SimpleQueue()
        self._awaited: deque[Callable[[Any], None]] = deque()
        self._thread: threading.Thread | None = None
        self._bell: tuple[int, int] | None = None

    def fileno(self) -> int:
        """A descriptor that is readable when something has been done, until the next look."""
        if self._bell is None:
            self._bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        return self._bell[0]

    def run(self, errand: Errand[T], done: Callable[[T | OSError], None]) -> None:
        """See Runner."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="dni-errands", daemon=True)
            self._thread.start()
        self._awaited.append(done)
        self._asked.put(partial(_outcome, errand))

    def look(self) -> None:
        """Call done of what has been done."""
        if self._bell is not None:
            with suppress(BlockingIOError):
                os.read(self._bell[0], 1 << 16)
        while self._awaited and not self._ended.empty():
            self._hand_over()

    def finish(self) -> None:
        """Wait until all is done, that too which was asked for on the way.

        Then the thread ends, and the descriptor is closed.
        """
        while self._awaited:
            self._hand_over()
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join()
            self._thread = None
        for end in self._bell or ():
            os.close(end)
        self._bell = None

    def _hand_over(self) -> None:
        outcome = self._ended.get()
        self._awaited.popleft()(outcome)

    def _work(self) -> None:
        while (errand := self._asked.get()) is not None:
            self._ended.put(errand())
            if self._bell is not None:
                with suppress(BlockingIOError):  # it rings already
                    os.write(self._bell[1], b"!")


def _outcome(errand: Errand[T]) -> T | OSError:
    try:
        return errand()
    except OSError as error:
        return error
    except Exception as error:  # the thread goes on, or the run would wait for ever
        return OSError(None, f"{type(error).__name__}: {error}")
