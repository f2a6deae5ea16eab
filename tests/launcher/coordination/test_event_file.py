"""The file of the run's events can be replayed."""

from __future__ import annotations

import stat
from pathlib import Path

from dni_async.launcher.coordination.event_file import recorded_run
from dni_async.launcher.decisions import run_log
from dni_async.launcher.decisions.events import Begun, Heard, Ticked
from dni_async.launcher.decisions.run_machine import RunMachine
from dni_async.wire.messages import PROTOCOL, Hello
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


def test_where_no_events_were_asked_for_there_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "events" / "run.jsonl"
    with recorded_run(terms(1), path) as machine:
        assert isinstance(machine, RunMachine)
    assert not path.exists()
