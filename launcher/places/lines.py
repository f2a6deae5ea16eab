"""The lines that a process with one job writes, as they come; whether it was stopped meanwhile."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Iterator
from typing import IO, Protocol

from dni_async.errors import WorkerDied
from dni_async.launcher.decisions.known.silence import LEAST_S, STACK_S, Silence
from dni_async.launcher.places.exits import state_of

__all__ = ["lines_of"]

LOOK_S = 0.5
ONLY = (0, 0)  # as Silence tells workers apart


class Writer(Protocol):
    """What is asked of a subprocess.Popen."""

    @property
    def pid(self) -> int: ...

    @property
    def stdout(self) -> IO[str] | None: ...


def lines_of(process: Writer, name: str, stuck_after_s: float) -> Iterator[str]:
    """Its whole lines, to the end of its output; nobody else reads that.

    Raises WorkerDied for one that is stopped (SIGSTOP) for 10 s, or stuck_after_s where that is
    less; 0: never. How long what it computes may take is not known.
    """
    assert process.stdout is not None
    silence, buffer = Silence(min(LEAST_S, stuck_after_s)), b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if selector.select(LOOK_S):
                part = os.read(process.stdout.fileno(), 65536)
                if not part:
                    return
                *lines, buffer = (buffer + part).split(b"\n")
                yield from (line.decode() for line in lines)
            if state_of(process.pid) not in ("T", "t"):
                silence.hear(ONLY)
            steps = [step for _, step in silence.look(time.monotonic(), [ONLY])]
            if "kill" in steps:
                stopped_s = silence.after_s(ONLY) + STACK_S
                raise WorkerDied(f"{name} was stopped for {stopped_s:g} s, and was killed", 137)
