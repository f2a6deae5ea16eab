"""A process with one job that is told, a line at a time, to go on with it, and answers each."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dni_async.errors import WorkerDied
from dni_async.files.scratch import SCRATCH, make_scratch, remove_scratch
from dni_async.launcher.places.local import command_for, thread_environment

__all__ = ["Talk"]


class Talk:
    """One of our modules in a process of its own, which gets job as its first line.

    It has a session of its own: a terminal's Ctrl-C is for the launcher alone. Close it.
    """

    def __init__(self, module: str, job: Mapping[str, Any], num_threads: int) -> None:
        self._module = module
        self._buffer = b""
        self._scratch = make_scratch().path
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        environment = thread_environment(num_threads, shares_cores=True)
        try:
            self._process = subprocess.Popen(
                command_for(module),
                env={**environment, SCRATCH: self._scratch},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except BaseException:
            self._give_back()
            raise
        self.tell(job)

    def tell(self, words: Mapping[str, Any]) -> None:
        """Give it a line; that it has died is heard later."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(words).encode() + b"\n")
            self._process.stdin.flush()

    def hear(self, deadline: float) -> dict[str, Any] | None:
        """Its next line; None where none has come by deadline, of time.monotonic.

        Raises WorkerDied, with what it said last on standard error.
        """
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                part = os.read(self._process.stdout.fileno(), 65536)
                if not part:
                    raise WorkerDied(self._why_ended(), 1)
                self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # of what it was told and has not read
                    pipe.close()
        self._give_back()

    def _give_back(self) -> None:
        self._errors.close()
        remove_scratch(self._scratch)

    def _why_ended(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        why = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"{self._module} {why}{': ' if said else ''}{said}"
