"""A thread that tells a logger what there is to tell, so that nobody waits for its server."""

from __future__ import annotations

import queue
import textwrap
import threading
from collections import deque
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
        self._waiting: queue.SimpleQueue[Row | _Words | None] = queue.SimpleQueue()
        self._untold: deque[Row] = deque()  # those that wait, and those that are being told
        self._lost = 0
        self._lost_from: dict[str, int] = {}
        self._error = ""
        self._thread = threading.Thread(target=self._run, name=f"dni-{title}", daemon=True)
        self._thread.start()

    def put(self, what: Row | _Words) -> None:
        """Have it told; a row is left out where MAX_WAITING do wait.

        Raises OSError once the logger has failed.
        """
        if isinstance(what, Row):
            if len(self._untold) >= MAX_WAITING:
                self._lose(what)
                return
            self._untold.append(what)
        if self._error:
            raise OSError(self._error)
        self._waiting.put(what)  # words always: rows need those that begin their run

    def end(self, deadline_s: float) -> None:
        """Wait until all has been told, no longer than deadline_s.

        Raises OSError that says what was not.
        """
        self._waiting.put(None)
        self._thread.join(deadline_s)
        if self._error:
            raise OSError(self._error)
        if self._thread.is_alive():
            raise OSError(f"{len(self._untold):,} values had not been sent after the run's end")
        if self._lost:
            raise OSError(f"{self._lost:,} values were not sent, as it took too long")

    def missed(self, run: str) -> int | None:
        """The lowest update of the run's rows that have not been told; None where all have."""
        updates = [row.updates for row in self._untold.copy() if row.run == run]
        lost = self._lost_from.get(run)
        return min(updates if lost is None else [*updates, lost], default=None)

    def _lose(self, row: Row) -> None:
        self._lost += 1
        self._lost_from[row.run] = min(row.updates, self._lost_from.get(row.run, row.updates))
        if self._error:
            raise OSError(self._error)

    def _run(self) -> None:
        try:
            self._tell_all(self._make())
        except Exception as error:  # of a library that is not ours
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self._error = textwrap.shorten(text, MAX_TEXT, placeholder=" ...")

    def _tell_all(self, log: Log) -> None:
        """Rows that wait behind each other are told at once."""
        rows: list[Row] = []
        while True:
            what = self._waiting.get()
            if isinstance(what, Row):
                rows.append(what)
                if len(rows) < MAX_ROWS and not self._waiting.empty():
                    continue
            if rows:
                log.add(rows)
                for _ in rows:
                    self._untold.popleft()
                rows = []
            if what is None:
                return
            if not isinstance(what, Row):
                what(log)
