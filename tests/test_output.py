"""What cannot be printed ends nothing, and is told once; what can be is printed as ever."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dni_async.system import output


@contextmanager
def at(target: int) -> Iterator[io.TextIOWrapper]:
    """A stream as the interpreter makes one, at a descriptor."""
    with os.fdopen(target, "w", closefd=False) as stream:
        yield stream


def broken_pipe() -> int:
    """A descriptor that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


def hung_up() -> int:
    """A terminal that was closed."""
    ours, theirs = os.openpty()
    os.close(ours)
    return theirs


def full() -> int:
    """A disk without room."""
    return os.open("/dev/full", os.O_WRONLY)


def read_only() -> int:
    """What cannot be written at all."""
    return os.open(os.devnull, os.O_RDONLY)


@pytest.mark.parametrize("make", [broken_pipe, hung_up, full, read_only])
def test_what_cannot_be_written_is_dropped_and_heard_of(make: object) -> None:
    heard: list[OSError] = []
    number = make()  # type: ignore[operator]
    with at(number) as stream:
        lasting = output.lasting(stream, heard.append)
        for _ in range(3):
            print("x" * 100_000, file=lasting, flush=True)
        assert not lasting.closed
    assert len(heard) >= 3
    os.close(number)


def test_what_stood_in_the_other_stream_comes_first() -> None:
    read, write = os.pipe()
    with at(write) as stream:
        lasting = output.lasting(stream)
        stream.write("theirs ")
        lasting.write("ours ")
        lasting.flush()
        stream.write("theirs again")
        stream.flush()
        assert os.read(read, 100) == b"theirs ours theirs again"
    os.close(read)
    os.close(write)


def test_a_descriptor_that_does_not_wait_gets_all_of_it() -> None:
    """As a pipe of a program that reads by events; it holds 64 KB."""
    program = (
        "import os, sys\n"
        "from dni_async.system import output\n"
        "os.set_blocking(1, False)\n"
        "output.last()\n"
        "print('x' * 1_000_000)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert len(done.stdout) == 1_000_001


def test_a_reader_that_stands_still_holds_nobody_up_who_is_in_a_hurry() -> None:
    read, write = os.pipe()
    with at(write) as stream:
        lasting = output.lasting(stream)
        output.hurry(is_on=True)
        try:
            print("x" * 1_000_000, file=lasting, flush=True)
        finally:
            output.hurry(is_on=False)
    os.close(write)
    with os.fdopen(read, "rb") as heard:
        assert 0 < len(heard.read()) < 1_000_000


def test_letters_that_an_encoding_lacks_are_escaped() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w", encoding="ascii") as stream:
        lasting = output.lasting(stream)
        lasting.write("\u25cb \udcff")
        lasting.flush()
        assert os.read(read, 100) == rb"\u25cb \udcff"
    os.close(read)


def test_a_stream_of_another_program_is_guarded() -> None:
    class Cell(io.StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    lasting = output.lasting(Cell())
    assert lasting.write("x") == 1
    lasting.flush()
    closed = io.StringIO()
    closed.close()
    output.lasting(closed).write("x")
    output.lasting(None).write("x")


LOST = "standard output cannot be written"
PROGRAM = """
import socket, sys
from dni_async.system import output
with output.lasting_output():
    output.carry_on("it goes on")
    taken = socket.socket()
    for _ in range(3):
        output.say("x" * 10_000)
    sys.exit(0 if taken.fileno() > 2 and output.unwritten() is None else 3)
"""


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        (
            "{} > /dev/full",
            [f"{LOST} (No space left on device): it goes on"],
        ),
        (
            "({}; echo $? >&2) | true",
            [f"{LOST} (Broken pipe): it goes on", "0"],
        ),
        ("{} > /dev/full 2>&1", []),
        ("{} >&-", []),
        ("{} <&- >&- 2>&-", []),
    ],
)
def test_a_process_that_carries_on_says_so_once_and_ends_well(shell: str, said: list[str]) -> None:
    command = f'"{sys.executable}" -c "$PROGRAM"'
    done = subprocess.run(
        ["sh", "-c", shell.format(command)],
        env={**os.environ, "PROGRAM": PROGRAM},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == said
