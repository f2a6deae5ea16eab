"""Recordings of runs: the same events lead to the same actions, and where not, that is found."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dni_async import ConfigError
from dni_async.launcher.decisions import run_log
from tests.launcher.decisions.runs import terms

RECORDINGS = sorted((Path(__file__).parent / "recordings").glob("*.jsonl"))
HEADER = json.dumps(run_log.header(terms())) + "\n"


def test_the_recordings_are_there() -> None:
    assert {path.stem for path in RECORDINGS} == {"replaced"}


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_what_a_real_run_decided_is_decided_again(path: Path) -> None:
    """Of three workers, two of which were killed together."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert run_log.replay(lines) == (len(lines) - 1, None)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_an_action_that_is_missing_is_found(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    number = next(n for n, line in enumerate(lines) if '["StartWorker",1,1]' in line)
    seconds, event, actions = json.loads(lines[number])
    lines[number] = json.dumps([seconds, event, actions[:-1]]) + "\n"
    count, divergence = run_log.replay(lines)
    assert count == number
    assert divergence is not None
    assert (divergence.number, divergence.event) == (number, event)
    assert (divergence.recorded, divergence.replayed) == (actions[:-1], actions)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1 is no header"),
        (['{"format": 2}\n'], "its format is 2, this version reads 1"),
        (['{"format": 1}\n'], "line 1 is no header"),
        ([HEADER, '[0,["Started",1],[]]\n'], "line 2 is no event"),
        ([HEADER, '[0,["Ticked"],[]]\n'], "line 2 is no event"),
        ([HEADER, '[0,["Ready","run",1],[]]\n'], "line 2 is no event"),
    ],
)
def test_what_is_no_recording(lines: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        run_log.replay(lines)
