"""Signals in a process that is the caller's: what is raised, what stays the caller's own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from dni_async.launcher.interruption import (
    Interrupted,
    LastSteps,
    before_leaving,
    interruptible_call,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def as_in_a_script() -> Iterator[None]:
    """The handlers that Python starts with; the test's own come back."""
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def call_that_hears(*signums: int) -> list[object]:
    """Raise the signals within an interruptible call; what the signals did meanwhile."""
    with interruptible_call():
        for signum in signums:
            signal.raise_signal(signum)
        return handlers()


def handlers() -> list[object]:
    """What each signal does now."""
    return [signal.getsignal(signum) for signum in SIGNALS]


def test_ctrl_c_is_a_keyboard_interrupt_and_the_handlers_come_back() -> None:
    before = handlers()
    assert all(now != then for now, then in zip(call_that_hears(), before, strict=True))
    assert handlers() == before
    with pytest.raises(KeyboardInterrupt):
        call_that_hears(signal.SIGINT)
    assert handlers() == before


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_what_would_end_the_process_ends_it_after_the_clean_up(signum: int) -> None:
    with pytest.raises(SystemExit) as caught:
        call_that_hears(signum)
    assert caught.value.code == 128 + signum


def test_a_second_ctrl_c_does_not_break_the_clean_up() -> None:
    cleaned = []

    @interruptible_call()
    def call() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt):
        call()
    assert cleaned


def test_the_callers_own_handlers_stay_but_for_ctrl_c() -> None:
    heard: list[int] = []
    for signum in SIGNALS:
        signal.signal(signum, lambda number, _: heard.append(number))
    with pytest.raises(KeyboardInterrupt):
        call_that_hears(signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    assert heard == [signal.SIGTERM, signal.SIGHUP]


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptible_call():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_in_another_thread_no_handler_is_touched() -> None:
    seen: list[list[object]] = []

    def call() -> None:
        with interruptible_call():
            seen.append(handlers())

    before = handlers()
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(10)
    assert seen == [before]


def test_a_step_that_fails_costs_none_of_the_others() -> None:
    steps, done = LastSteps(), []

    def fail() -> None:
        raise OSError(28, "No space left on device")

    def say() -> str:
        done.append("said")
        return "it is elsewhere"

    assert [steps.do(fail), steps.do(say), steps.do(lambda: done.append("last"))] == [
        False,
        True,
        True,
    ]
    assert steps.failures == ["[Errno 28] No space left on device", "it is elsewhere"]
    assert done == ["said", "last"]
    assert steps.interrupted is None


def test_a_signal_waits_for_a_step_and_a_second_one_gives_it_up() -> None:
    steps, done = LastSteps(), []

    def step(num_signals: int) -> None:
        for _ in range(num_signals):
            signal.raise_signal(signal.SIGTERM)
        done.append(num_signals)

    with interruptible_call():
        before = handlers()
        assert steps.do(lambda: step(1))
        assert handlers() == before
    assert isinstance(steps.interrupted, Interrupted)
    assert done == [1]

    steps = LastSteps()
    with interruptible_call():
        assert not steps.do(lambda: step(2))
        assert steps.do(lambda: step(0))
    assert isinstance(steps.interrupted, Interrupted)
    assert done == [1, 0]


def test_a_second_signal_is_heard_before_it_ends_everything() -> None:
    heard: list[str] = []
    handler = signal.signal(signal.SIGTERM, lambda *_: heard.append("as before"))
    try:
        with before_leaving(lambda: heard.append("before it")):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert heard == ["as before", "before it", "as before"]
