"""A command that is forked cannot be told from one that is executed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.marked_process import MarkedProcess

TELL = """
import json, os, signal, sys, threading
handlers = {s.name: str(signal.getsignal(s)) for s in signal.Signals}
print(json.dumps({
    "arguments": sys.argv, "folder": os.getcwd(), "name": __name__, "input": sys.stdin.read(),
    "variables": {name: os.environ.get(name) for name in ("GIVEN", "TMPDIR", "HOME", "PATH")},
    "leads": os.getpid() == os.getsid(0) == os.getpgid(0), "threads": threading.active_count(),
    "handlers": handlers, "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "first": sys.path[0], "descriptors": sorted(map(int, os.listdir("/proc/self/fd"))),
}))
"""


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit(7)", 7, ""),
        ("sys.exit('a sentence')", 1, "a sentence"),
        ("raise ValueError('too much')", 1, "ValueError: too much"),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9, ""),
    ],
)
def test_it_is_as_if_executed(tmp_path: Path, ending: str, code: int, said: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(TELL + ending)
    told = []
    for is_cold in (True, False):
        process = MarkedProcess(
            [sys.executable, "-u", str(program), "first", "second"],
            cwd=tmp_path,
            environment={"GIVEN": "value", "TMPDIR": str(tmp_path)},
            is_cold=is_cold,
        )
        assert process.end() == code
        facts, _, rest = process.output.partition("\n")
        assert rest.rstrip().endswith(said)
        told.append(json.loads(facts))
        process.abort()
    assert told[0] == told[1]


def test_it_can_be_found_by_its_mark(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import os, time\nos.fork()\nos.write(1, b'there')\ntime.sleep(600)\n")
    process = MarkedProcess([sys.executable, "-u", str(program)], cwd=tmp_path)
    process.wait_for("(?s)there.*there")
    assert len(process.alive()) == 2
    process.abort()
    assert process.left_after(5.0) == []
