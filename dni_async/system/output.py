"""What a process of ours says on standard output and error: that it cannot be said ends nothing.

A reader that goes away (``| head``), a full disk behind ``>``, a terminal that was closed, a
descriptor that was never open: what cannot be written is dropped, and the process goes on. Whoever
has something to say says it here, or through a console that writes to a lasting stream.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, TextIO

__all__ = [
    "carry_on",
    "complain",
    "fill_descriptors",
    "flush",
    "has_terminal",
    "hurry",
    "last",
    "lasting",
    "lasting_output",
    "say",
    "show_cursor",
    "unwritten",
]

_SHOW_CURSOR = b"\x1b[?25h\r\n"
_WAIT_S = 1.0  # for a descriptor that does not wait by itself, and looked at again then
_AT_ONCE = select.PIPE_BUF  # bytes that are taken without waiting where any are
_hurry = {"is_on": False}
# Of standard output: why not all could be written, what is said then, and where.
_lost: dict[str, Any] = {"error": None, "remark": "", "beside": None}


def say(text: str) -> None:
    """A line on standard output; escapes of a terminal in text are its caller's to see to."""
    _write(sys.stdout, f"{text}\n")


def complain(text: str) -> None:
    """A line on standard error, which for a worker is its log."""
    _write(sys.stderr, f"{text}\n")


def flush() -> None:
    """Hand what was printed to the system."""
    for stream in (sys.stdout, sys.stderr):
        _write(stream, "")


def show_cursor() -> None:
    """In the terminal that standard output leads to, if it does and that takes anything now."""
    with suppress(OSError):
        if os.isatty(1) and select.select([], [1], [], 0)[1]:
            os.write(1, _SHOW_CURSOR)


def has_terminal() -> bool:
    """Whether a user reads standard error in a terminal."""
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except (OSError, ValueError):
        return False


def carry_on(remark: str) -> None:
    """From now on this process has more to do than to print: a lost output costs one sentence.

    It names the reason and ends with remark, on standard error where that can be written.
    """
    _lost["remark"] = remark


def hurry(*, is_on: bool) -> None:
    """Whether who reads and does not (Ctrl-S, a pager that stands) may hold this process up.

    In a hurry, as when a signal has asked for its end, what is not taken within a second is lost.
    """
    _hurry["is_on"] = is_on


def unwritten() -> OSError | None:
    """Why not all of what was printed could be written; None where it was, or nobody missed it.

    A reader that has gone (EPIPE) had enough; who carries on has said it. Of the block of
    lasting_output that was left last.
    """
    error: OSError | None = _lost["error"]
    is_missed = error is not None and error.errno != errno.EPIPE and not _lost["remark"]
    return error if is_missed else None


def fill_descriptors() -> None:
    """Have standard input, output and error open, at nothing where they were closed.

    Else a socket or file would take their numbers, and hear what is printed to them.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)  # the lowest number that is free: this one
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)


def last() -> None:
    """Whatever this process prints from now on, by whichever library, is printed lastingly."""
    fill_descriptors()
    sys.stderr = lasting(sys.stderr)
    _lost.update(error=None, remark="", beside=sys.stderr)
    sys.stdout = lasting(sys.stdout, _note_loss)


@contextmanager
def lasting_output() -> Iterator[None]:
    """As last, within the block."""
    before = sys.stdout, sys.stderr
    last()
    try:
        yield
    finally:
        flush()
        sys.stdout, sys.stderr = before


def lasting(stream: TextIO | None, lost: Callable[[OSError], None] | None = None) -> TextIO:
    """A stream to the same place whose writes do not fail; lost hears of each that could not be.

    What an encoding cannot write stands there escaped. None, as sys.stdout is where its descriptor
    was closed, leads nowhere.
    """
    hear = lost or (lambda error: None)
    if stream is None:
        return _Guarded(io.StringIO(), hear, leads_nowhere=True)  # type: ignore[return-value]
    if isinstance(stream, _Lasting | _Guarded):
        return stream
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if type(raw) is not io.FileIO or not isinstance(stream, io.TextIOWrapper):
        return _Guarded(stream, hear)  # type: ignore[return-value]
    return _Lasting(stream, raw.fileno(), hear)


class _Descriptor(io.FileIO):
    """Takes all that it is given: what the system does not take is gone."""

    def __init__(self, number: int, lost: Callable[[OSError], None]) -> None:
        super().__init__(number, "w", closefd=False)
        self._lost = lost
        self._patience_s = _WAIT_S  # in a hurry, with a reader that is there and does not read

    def write(self, data: Any, /) -> int:
        """Number of bytes that are done with. Waits where another made the descriptor not wait."""
        size = memoryview(data).nbytes
        try:
            while True:
                if _hurry["is_on"] and not self._has_room():
                    return size
                count = super().write(data[:_AT_ONCE] if _hurry["is_on"] else data)
                if count is not None:
                    return count
                select.select([], [self], [], _WAIT_S)
        except OSError as error:
            self._lost(error)
            return size

    def _has_room(self) -> bool:
        """Whether so much is taken at once, now or in a moment; waited for once."""
        if select.select([], [self], [], self._patience_s)[1]:
            return True
        self._patience_s = 0.0
        return False


class _Lasting(io.TextIOWrapper):
    """Text for the descriptor of another stream, behind what that still holds."""

    def __init__(
        self, other: io.TextIOWrapper, number: int, lost: Callable[[OSError], None]
    ) -> None:
        super().__init__(
            io.BufferedWriter(_Descriptor(number, lost)),
            encoding=other.encoding,
            errors="backslashreplace",
            line_buffering=other.line_buffering,
            write_through=other.write_through,
        )
        self._other = other

    def write(self, text: str, /) -> int:
        """All of it, sooner or later."""
        with suppress(OSError, ValueError):
            self._other.flush()
        return super().write(text)


class _Guarded:
    """Text for a stream that is no descriptor's: of a test, a notebook, an embedding program."""

    def __init__(
        self, stream: IO[str], lost: Callable[[OSError], None], *, leads_nowhere: bool = False
    ) -> None:
        self._stream, self._lost, self._leads_nowhere = stream, lost, leads_nowhere

    def write(self, text: str) -> int:
        """All of it, as far as anybody can tell."""
        if not self._leads_nowhere:
            self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """What was written, if that can be."""
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's."""
        return getattr(self._stream, name)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            self._lost(error)
        except ValueError:  # it is closed, or its encoding lacks a letter
            return


def _write(stream: TextIO | None, text: str) -> None:
    """At once, if it can be."""
    shown = lasting(stream)
    shown.write(text)
    shown.flush()


def _note_loss(error: OSError) -> None:
    """Once, of standard output."""
    if _lost["error"] is None:
        _lost["error"] = error
        if _lost["remark"]:
            # Not by sys.stderr, which rich may have led to the output that is being written.
            said = f"standard output cannot be written ({error.strerror}): {_lost['remark']}"
            _write(_lost["beside"], f"{said}\n")
