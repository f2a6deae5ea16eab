"""The logs of a run, and nothing beside them."""

from __future__ import annotations

import os
from pathlib import Path

from dni_async.launcher.dashboard.logs import TAIL_BYTES, Stacks, list_logs, tail_of, worker_pid


def test_only_logs_are_listed_and_read(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "worker-0.log").write_text("hello\n")
    (logs / "other.txt").write_text("no log")
    (tmp_path / "secret.log").write_text("not here")
    (logs / "link.log").symlink_to(tmp_path / "secret.log")
    assert list_logs(tmp_path) == [{"name": "worker-0.log", "size": 6}]
    assert tail_of(tmp_path, "worker-0.log") == "hello\n"
    for name in ("other.txt", "../secret.log", "link.log", "", "worker-9.log"):
        assert tail_of(tmp_path, name) is None
    assert list_logs(tmp_path / "nowhere") == []


def test_of_a_long_log_the_end_is_shown_from_the_start_of_a_line(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    lines = "".join(f"line {number}\n" for number in range(10_000))
    (tmp_path / "logs" / "worker-0.log").write_text(lines)
    tail = tail_of(tmp_path, "worker-0.log")
    assert tail is not None
    assert len(tail) <= TAIL_BYTES
    assert tail.startswith("line ")
    assert tail.endswith("line 9999\n")


def test_no_other_process_is_asked_for_its_stack(tmp_path: Path) -> None:
    assert worker_pid(0, os.getpid()) is None
    assert Stacks(tmp_path).ask(0) is False
