"""Ends of processes are seen whoever is their parent, and with their cause."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from dni_async.launcher.places.exits import Ends, ended_with, has_ended, reap, state_of
from dni_async.launcher.places.local import signal_name
from dni_async.system.machine import adopt_orphans

PATIENCE_S = 10.0
HARMLESS = {"SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU"}
OWN = 33  # the C library's, which does not die of it
DEADLY = [n for n in range(1, 65) if signal_name(n) not in HARMLESS and n != OWN]

Grandchildren = Callable[[int], list[int]]


@pytest.fixture
def grandchildren() -> Iterator[Grandchildren]:
    """So many processes that wait, of a parent that waits too and reaps none."""
    parents: list[int] = []

    def make(count: int) -> list[int]:
        reading, writing = os.pipe()
        parent = os.fork()
        if not parent:
            _wait_with_children(count, writing)
        os.close(writing)
        parents.append(parent)
        with os.fdopen(reading) as told:
            return [int(told.readline()) for _ in range(count)]

    yield make
    for parent in parents:
        os.killpg(parent, signal.SIGKILL)
        os.waitpid(parent, 0)


def _wait_with_children(count: int, writing: int) -> None:
    os.setsid()
    for number in range(1, 65):
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_DFL)
    for _ in range(count):
        child = os.fork()
        while not child:
            signal.pause()
        os.write(writing, f"{child}\n".encode())
    os.close(writing)
    while True:
        signal.pause()


def ends_of(pids: list[int], ends: Ends, selector: selectors.BaseSelector) -> dict[int, int | None]:
    """What is found of them."""
    found: dict[int, int | None] = {}
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < len(pids):
        assert time.monotonic() < deadline, found
        selector.select(0.05)
        found |= dict(ends.found())
    return found


@pytest.mark.parametrize("has_descriptors", [True, False])
def test_every_signal_is_seen_in_a_process_that_nobody_reaps(
    grandchildren: Grandchildren, monkeypatch: pytest.MonkeyPatch, has_descriptors: bool
) -> None:
    if not has_descriptors:
        monkeypatch.delattr(os, "pidfd_open")
    pids = grandchildren(len(DEADLY))
    with selectors.DefaultSelector() as selector:
        ends = Ends(selector)
        for pid in pids:
            ends.watch(pid)
        assert ends.found() == []
        for pid, number in zip(pids, DEADLY, strict=True):
            os.kill(pid, number)
        found = ends_of(pids, ends, selector)
        assert [found[pid] for pid in pids] == [-number for number in DEADLY]
        assert ends.found() == [], "each once"


def test_every_signal_has_a_name_for_the_user() -> None:
    names = [signal_name(number) for number in range(1, 65)]
    assert all(names)
    assert len(set(names)) == 64
    assert signal_name(9) == "SIGKILL"
    assert signal_name(40) == "signal 40"


def test_one_that_was_reaped_unheard_has_ended_all_the_same() -> None:
    pid = os.fork()
    if not pid:
        os._exit(3)
    with selectors.DefaultSelector() as selector:
        ends = Ends(selector)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert ended_with(pid) == 3
        ends.watch(pid)
        os.waitpid(pid, 0)
        assert ends_of([pid], ends, selector) == {pid: None}


def test_an_orphan_becomes_a_child_and_tells_how_it_ended() -> None:
    before = adopt_orphans(is_on=True)
    try:
        reading, writing = os.pipe()
        parent = os.fork()
        if not parent:
            child = os.fork()
            while not child:
                signal.pause()
            os.write(writing, str(child).encode())
            os._exit(0)
        pid = int(os.read(reading, 20))
        os.waitpid(parent, 0)
        assert not has_ended(pid)
        assert not reap(pid)
        with selectors.DefaultSelector() as selector:
            ends = Ends(selector)
            ends.watch(pid)
            os.kill(pid, signal.SIGTERM)
            assert ends_of([pid], ends, selector) == {pid: -signal.SIGTERM}
        assert state_of(pid) == "Z"
        assert reap(pid)
        assert has_ended(pid)
    finally:
        adopt_orphans(is_on=before)
        os.close(reading)
        os.close(writing)
