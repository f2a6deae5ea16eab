"""Ctrl-C and SIGTERM as one exception: the first unwinds the run, a second ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from dni_async.system import output

__all__ = ["Interrupted", "interruptible", "interruptible_call"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked the launcher to end. exit_code: 130 for SIGINT, 143 for SIGTERM."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted in the main thread at the first SIGINT, SIGTERM or SIGHUP.

    One that whoever started this process had it ignore (nohup, & in a script) stays ignored. At
    the second the process ends on the spot; its fork server then kills the workers.
    """
    taken = [signum for signum in _SIGNALS if signal.getsignal(signum) != signal.SIG_IGN]
    with _raising(taken, again=_leave):
        yield


def _leave(signum: int) -> None:
    """End on the spot, with the cursor that a display may have hidden."""
    output.show_cursor()
    os._exit(128 + signum)


@contextmanager
def interruptible_call() -> Iterator[None]:
    """The same within a process that is the caller's: KeyboardInterrupt at Ctrl-C.

    SIGTERM and SIGHUP raise SystemExit where they would have ended the process anyway; handlers of
    the caller's own stay. Further signals wait out the clean-up, a second or two: an exception in
    the middle of it would leave workers to whoever holds on to the traceback. In another thread
    than the main one, which alone hears signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [signum for signum in _SIGNALS if _is_ours_to_take(signum)]
    try:
        with _raising(taken, again=lambda _: None):
            yield
    except Interrupted as interrupted:
        if interrupted.exit_code == 128 + signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(interrupted.exit_code) from None


def _is_ours_to_take(signum: int) -> bool:
    handler = signal.getsignal(signum)
    if signum == signal.SIGINT:  # an event loop's own handler would wait for the run's end
        return handler is not None and handler != signal.SIG_IGN
    return handler == signal.SIG_DFL


@contextmanager
def _raising(signals: Iterable[int], *, again: Callable[[int], None]) -> Iterator[None]:
    """Raise Interrupted at the first of the signals, call again at every further one."""
    seen: list[int] = []

    def handle(signum: int, _frame: FrameType | None) -> None:
        if seen:
            again(signum)
            return
        seen.append(signum)
        raise Interrupted(signum)

    before = {signum: signal.signal(signum, handle) for signum in signals}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
