"""Ctrl-C and SIGTERM as one exception: the first unwinds the run, a second ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from dni_async.errors import DniError
from dni_async.system import output

__all__ = ["Interrupted", "LastSteps", "before_leaving", "interruptible", "interruptible_call"]

_Handler = Callable[[int, FrameType | None], object]
_Hear = Callable[[int, int, FrameType | None, _Handler], None]  # the how manieth it is, first
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
    the second the process ends on the spot; its fork server then kills the workers. So it does
    behind the block as well, while Python tidies up: there an exception would only be printed.
    """
    taken = [signum for signum in _SIGNALS if signal.getsignal(signum) != signal.SIG_IGN]
    with _raising(taken, again=_leave, is_last=True):
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
def _raising(
    signals: Iterable[int], *, again: Callable[[int], None], is_last: bool = False
) -> Iterator[None]:
    """Raise Interrupted at the first of the signals, call again at every further one.

    is_last: nothing but the process's end follows once one has come, so again stays for those.
    """
    seen: list[int] = []

    def handle(signum: int, _frame: FrameType | None) -> None:
        if seen:
            again(signum)
            return
        seen.append(signum)
        output.hurry(is_on=True)
        raise Interrupted(signum)

    output.hurry(is_on=False)
    before = {signum: signal.signal(signum, handle) for signum in signals}
    try:
        yield
    finally:
        if not (is_last and seen):
            for signum, handler in before.items():
                signal.signal(signum, handler)


class LastSteps:
    """What is done at the end of a run, each step by itself, whatever became of those before.

    A signal that comes during a step waits until it is done; one more gives the step up, and the
    next one is done. failures: what the user has to be told of them, at last. interrupted: the
    first signal that came, to be raised when all is done.
    """

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.interrupted: BaseException | None = None

    def do(self, step: Callable[[], str | None]) -> bool:
        """Whether step was done; it may give a sentence to be told."""
        waiting: list[Callable[[], object]] = []

        def hear(number: int, signum: int, frame: FrameType | None, handler: _Handler) -> None:
            if number > 1:
                waiting.clear()
                handler(signum, frame)
            waiting.append(lambda: handler(signum, None))

        is_done = self._try(lambda: self._take(step, hear))
        for heard in waiting:
            self._try(heard)
        return is_done

    def _take(self, step: Callable[[], str | None], hear: _Hear) -> None:
        with _hearing(hear):
            sentence = step()
            if sentence is not None:
                self.failures.append(sentence)

    def _try(self, what: Callable[[], object]) -> bool:
        try:
            what()
        except (DniError, OSError) as error:
            self.failures.append(str(error))
            return False
        except (Interrupted, KeyboardInterrupt, SystemExit) as interrupted:
            self.interrupted = self.interrupted or interrupted
            return False
        return True


@contextmanager
def before_leaving(do: Callable[[], None]) -> Iterator[None]:
    """Within the block, have do called at a second signal, before what that leads to."""

    def hear(number: int, signum: int, frame: FrameType | None, handler: _Handler) -> None:
        if number > 1:
            do()
        handler(signum, frame)

    with _hearing(hear):
        yield


@contextmanager
def _hearing(hear: _Hear) -> Iterator[None]:
    """Have hear called at each signal that has a handler in Python, with that, and how many there
    have been; in another thread than the main one, which alone hears signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found = {int(signum): signal.getsignal(signum) for signum in _SIGNALS}
    before: dict[int, _Handler] = {at: each for at, each in found.items() if callable(each)}
    num_heard = 0

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal num_heard
        num_heard += 1
        hear(num_heard, signum, frame, before[signum])

    for signum in before:
        signal.signal(signum, handle)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
