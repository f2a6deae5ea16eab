"""The file of the run's events can be replayed."""

from __future__ import annotations

import stat
from pathlib import Path

from dni_async.launcher.coordination.event_file import MAX_BYTES, recorded_run
from dni_async.launcher.decisions import run_log
from dni_async.launcher.decisions.events import Begun, Heard, Ticked
from dni_async.launcher.decisions.run_machine import RunMachine
from dni_async.wire.messages import PROTOCOL, Bye, Failed, Hello
from tests.launcher.decisions.runs import RUN, terms


def test_what_is_written_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with recorded_run(terms(1), path) as machine:
        machine.handle(Begun(1.0))
        assert machine.handle(Heard(1.1, "stage-0", Hello(PROTOCOL, RUN, 0, 7, "host", "")))
        machine.handle(Ticked(2.0))
    text = path.read_text()
    assert "SendWelcome" in text
    assert run_log.replay(text.splitlines(keepends=True)) == (3, None)
    assert stat.S_ISREG(path.stat().st_mode)


def test_what_is_refused_and_leads_to_nothing_is_left_out(tmp_path: Path) -> None:
    """A flood of it would fill the file, and what comes after would be lost."""
    path = tmp_path / "run.jsonl"
    with recorded_run(terms(1), path) as machine:
        machine.handle(Begun(1.0))
        for _ in range(100):
            machine.handle(Heard(1.1, "nobody", Bye(RUN, 0)))
        machine.handle(Ticked(2.0))
    lines = path.read_text().splitlines(keepends=True)
    assert sum('"Bye"' in line for line in lines) == 1  # it was named
    assert run_log.replay(lines) == (3, None)


def test_a_file_of_events_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    failed = Failed(RUN, 0, "cpu", "x" * 30_000, "y" * 30_000)
    with recorded_run(terms(1), path) as machine:
        machine.handle(Begun(1.0))
        machine.handle(Heard(1.1, "stage-0", Hello(PROTOCOL, RUN, 0, 7, "host", "")))
        for _ in range(MAX_BYTES // 60_000 + 100):
            machine.handle(Heard(1.2, "stage-0", failed))
    assert path.stat().st_size < MAX_BYTES + 100_000


def test_where_no_events_were_asked_for_there_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "events" / "run.jsonl"
    with recorded_run(terms(1), path) as machine:
        assert isinstance(machine, RunMachine)
    assert not path.exists()
