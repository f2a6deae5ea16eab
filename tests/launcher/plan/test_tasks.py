"""Threads are tried before a run, and are gone again."""

from __future__ import annotations

import threading

import pytest

from dni_async.errors import ConfigError
from dni_async.launcher.plan import tasks
from dni_async.launcher.plan.tasks import allow_tasks


def test_where_there_is_room_nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_is_limited", lambda: True)
    before = threading.active_count()
    allow_tasks(4)
    assert threading.active_count() == before


def test_too_few_are_named_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_is_limited", lambda: True)
    start, left = threading.Thread.start, iter(range(5))

    def start_some(thread: threading.Thread) -> None:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    with pytest.raises(ConfigError, match=r"4 of them need 28 .* only 5 more .*ulimit -u"):
        allow_tasks(4)
