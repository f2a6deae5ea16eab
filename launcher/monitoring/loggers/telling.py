"""A thread that tells a logger what there is to tell, so that nobody waits for its server."""

from __future__ import annotations

import queue
import textwrap
import threading
from collections.abc import Callable
from typing import Final

from dni_async.launcher.monitoring.loggers.log import Log, Row

__all__ = ["Telling"]

MAX_WAITING: Final = 20_000  # rows of a minute, from a server that does not answer for so long
MAX_TEXT: Final = 240  # of what went wrong: servers answer with whole pages
MAX_ROWS: Final = 64  # told at once

_Words = Callable[[Log], None]


class Telling:
    """One logger's thread. title: what the user calls the logger.

    make: imports and makes the logger, in the thread: some take seconds.
    """

    def __init__(self, title: str, make: Callable[[], Log]) -> None:
        self._title = title
        self._make = make
        self._waiting: queue.Queue[Row | _Words | None] = queue.Queue(MAX_WAITING)
        self._lost = 0
        self._error = ""
        self._thread = threading.Thread(target=self._run, name=f"dni-{title}", daemon=True)
        self._thread.start()

    def put(self, what: Row | _Words) -> None:
        """Have it told. Raises OSError once the logger has failed."""
        if self._error:
            raise OSError(self._error)
        try:
            self._waiting.put_nowait(what)
        except queue.Full:
            self._lost += 1

    def end(self, deadline_s: float) -> None:
        """Wait until all has been told, no longer than deadline_s.

        Raises OSError that says what was not.
        """
        try:
            self._waiting.put_nowait(None)
            self._thread.join(deadline_s)
        except queue.Full:
            pass
        if self._error:
            raise OSError(self._error)
        if self._thread.is_alive():
            raise OSError(f"{self._waiting.qsize():,} values had not been sent after the run's end")
        if self._lost:
            raise OSError(f"{self._lost:,} values were not sent, as it took too long")

    def _run(self) -> None:
        try:
            log = self._make()
            while (what := self._waiting.get()) is not None:
                if isinstance(what, Row):
                    if not self._add(log, what):
                        return
                else:
                    what(log)
        except Exception as error:  # of a library that is not ours
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self._error = textwrap.shorten(text, MAX_TEXT, placeholder=" ...")

    def _add(self, log: Log, first: Row) -> bool:
        """Tell first and the rows that wait behind it; whether there is more to come."""
        rows = [first]
        after: _Words | None = None
        while len(rows) < MAX_ROWS:
            try:
                what = self._waiting.get_nowait()
            except queue.Empty:
                log.add(rows)
                return True
            if not isinstance(what, Row):
                log.add(rows)
                after = what
                if after is not None:
                    after(log)
                return after is not None
            rows.append(what)
        log.add(rows)
        return True
