"""Nobody waits for a logger: what it does not take in time is counted, and said once."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from dni_async.launcher.monitoring.loggers.log import Ending, Facts, Row
from dni_async.launcher.monitoring.loggers.telling import MAX_ROWS, MAX_WAITING, Telling


class Diary:
    """A logger that keeps what it is told, once it may go on."""

    def __init__(self, *, is_slow: bool = False, is_full: bool = False) -> None:
        self.told: list[Any] = []
        self.may_go_on = threading.Event()
        self.is_full = is_full
        if not is_slow:
            self.may_go_on.set()

    def open(self, facts: Facts) -> None:
        """The first that it is told."""
        self.told.append(facts.name)

    def begin(self, run: str, kind: str, rule: str) -> None:
        """A run."""
        self.told.append((run, kind, rule))

    def add(self, rows: Sequence[Row]) -> None:
        """Rows."""
        self.may_go_on.wait()
        if self.is_full:
            raise RuntimeError("no\nspace")
        self.told += rows

    def mark(self, run: str, name: str, text: str) -> None:
        """Something has happened."""
        self.told.append((run, name, text))

    def finish(self, run: str, ending: Ending, report: Mapping[str, Any]) -> None:
        """The end."""
        self.told.append((run, ending, report.get("status")))


def row(updates: int) -> Row:
    """A value at an update."""
    return Row("dni", updates, 0.5, {"updates/loss": 0.25})


def test_everything_is_told_in_its_order() -> None:
    diary = Diary(is_slow=True)
    telling = Telling("diary", lambda: diary)
    rows = [row(updates) for updates in range(3 * MAX_ROWS)]
    for each in rows[:100]:
        telling.put(each)
    telling.put(lambda log: log.mark("dni", "restart.1", "killed"))
    for each in rows[100:]:
        telling.put(each)
    diary.may_go_on.set()
    telling.end(60)
    assert diary.told == [*rows[:100], ("dni", "restart.1", "killed"), *rows[100:]]


def test_one_that_fails_says_so_once_it_is_told_again() -> None:
    diary = Diary(is_full=True)
    telling = Telling("diary", lambda: diary)
    telling.put(row(1))
    with pytest.raises(OSError, match=r"^RuntimeError: no space$"):
        telling.end(60)
    with pytest.raises(OSError, match="no space"):
        telling.put(row(2))
    assert telling.missed("dni") == 1


def test_one_that_cannot_be_made_says_why() -> None:
    def refuse() -> Diary:
        raise ModuleNotFoundError("No module named 'diary'")

    with pytest.raises(OSError, match="No module named 'diary'"):
        Telling("diary", refuse).end(60)


def test_one_that_takes_too_long_costs_what_it_was_not_told() -> None:
    diary = Diary(is_slow=True)
    telling = Telling("diary", lambda: diary)
    telling.put(row(0))
    with pytest.raises(OSError, match=r"^1 values had not been sent after the run's end"):
        telling.end(0.0)
    diary.may_go_on.set()


def test_what_cannot_wait_any_more_is_counted() -> None:
    diary = Diary(is_slow=True)
    telling = Telling("diary", lambda: diary)
    for updates in range(MAX_WAITING + MAX_ROWS + 10):
        telling.put(row(updates))
    telling.put(lambda log: log.mark("dni", "restart.1", "killed"))  # no value
    diary.may_go_on.set()
    with pytest.raises(OSError, match=rf"{MAX_ROWS + 10} values were not sent"):
        telling.end(60)
    assert len(diary.told) == MAX_WAITING + 1
    assert diary.told[-1] == ("dni", "restart.1", "killed")
    assert (telling.missed("dni"), telling.missed("baseline")) == (MAX_WAITING, None)
