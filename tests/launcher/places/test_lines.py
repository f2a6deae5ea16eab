"""What a process writes comes line by line; one that is stopped keeps nobody waiting for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dni_async import WorkerDied
from dni_async.launcher.places.lines import lines_of

TALKS = "print('one'); print('two', flush=True); input(); print('three'); print('cut', end='')"


@pytest.fixture
def talks() -> Iterator[subprocess.Popen[str]]:
    """A process that says two lines, waits for one, and says one and a half."""
    process = subprocess.Popen(
        [sys.executable, "-c", TALKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        yield process
        process.kill()


def test_lines_come_as_they_are_written_and_half_a_line_never(
    talks: subprocess.Popen[str],
) -> None:
    lines = lines_of(talks, "it", 120.0)
    assert [next(lines), next(lines)] == ["one", "two"]
    assert talks.stdin is not None
    talks.stdin.write("\n")
    talks.stdin.flush()
    assert list(lines) == ["three"]


def test_one_that_is_stopped_is_not_waited_for(talks: subprocess.Popen[str]) -> None:
    lines = lines_of(talks, "it", 0.5)
    assert [next(lines), next(lines)] == ["one", "two"]
    os.kill(talks.pid, signal.SIGSTOP)
    with pytest.raises(WorkerDied, match=r"^it was stopped for 1.5 s, and was killed$"):
        next(lines)
