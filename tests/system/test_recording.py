"""A run that records its events, and their replay."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from dni_async.launcher.places.local import command_for
from tests.marked_process import outcome
from tests.system.conftest import Launch

pytestmark = pytest.mark.system


def replay(run_dir: Path) -> tuple[int, str]:
    """``dni-report --replay``: its exit code and what it says."""
    command = command_for("dni_async.launcher.commands.report", "--replay", str(run_dir))
    return outcome(command, run_dir.parent)


def test_a_run_is_recorded_and_replayed(launch: Callable[..., Launch]) -> None:
    run = launch("--epochs=2", "--layers=3", "--no-baseline", "--record-events")
    assert run.end() == 0, run.output
    code, said = replay(run.run_dir)
    assert code == 0, said
    names = [line.split(": ")[0] for line in said.splitlines()]
    assert names == ["stage-0", "stage-1", "stage-2", "run"]
    assert said.count("the same actions") == 4
    path = run.run_dir / "events" / "stage-1.jsonl"
    assert '["Finish"]' in path.read_text()  # to the end
    path.write_text(path.read_text().replace('"synthetic"', '"returned"', 1))
    code, said = replay(run.run_dir)
    assert code == 1
    assert re.search(r'stage-1: event \d+ \["Turn"\] led to', said)
    run.assert_nothing_left()


def test_the_recording_of_an_interrupted_run_can_be_replayed(
    launch: Callable[..., Launch],
) -> None:
    run = launch("--epochs=100000", "--width=64", "--no-baseline", "--record-events")
    run.wait_for("epoch   3")
    run.interrupt(signal.SIGTERM)
    assert run.end() == 143
    code, said = replay(run.run_dir)
    assert code == 0, said


def test_a_replacement_writes_a_file_of_its_own(launch: Callable[..., Launch]) -> None:
    run = launch("--epochs=30", "--layers=3", "--width=64", "--no-baseline", "--record-events")
    pids = run.worker_pids()
    run.wait_for("epoch +2 ")
    os.kill(pids[1], signal.SIGKILL)
    assert run.end() == 0, run.output
    code, said = replay(run.run_dir)
    names = [line.split(": ")[0] for line in said.splitlines()]
    assert sorted(names) == ["run", "stage-0", "stage-1", "stage-1.1", "stage-2"]
    assert (code, said.count("the same actions")) == (0, 5), said
    text = (run.run_dir / "events" / "run.jsonl").read_text()
    assert '["StartWorker",1,1]' in text
    assert '["EndRun","done","",0]' in text  # to the end


def test_nothing_recorded_is_said(launch: Callable[..., Launch]) -> None:
    run = launch("--epochs=1", "--layers=2", "--no-baseline")
    assert run.end() == 0
    assert not (run.run_dir / "events").exists()
    code, said = replay(run.run_dir)
    assert code == 2
    assert "holds no events; a run with --record-events does" in said
