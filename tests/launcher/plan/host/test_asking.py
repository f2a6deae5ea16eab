"""What would keep a run from working is one sentence before it starts; what is doubtful, a line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.launcher.plan.host import asking
from dni_async.launcher.plan.host.asking import ask_host
from dni_async.launcher.plan.host.finding import Finding
from dni_async.launcher.plan.host.findings import judge_cores, judge_loopback, judge_temporary


def found(monkeypatch: pytest.MonkeyPatch, look: str, finding: Finding) -> None:
    """As if that look had come to this."""
    monkeypatch.setattr(asking, look, lambda: finding)


def test_a_host_that_is_well_is_not_talked_of(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = judge_cores(counted=4, present=4, affinity=4, quota=None)
    found(monkeypatch, "look_at_cores", whole)
    monkeypatch.setattr(asking, "available_bytes", lambda: 2**40)
    assert ask_host(RunConfig(transport="tcp"), Path("runs/mine")) == []


def test_without_a_folder_for_sockets_no_run_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, "look_at_temporary", judge_temporary(None, "/x", "Permission denied"))
    with pytest.raises(ConfigError, match=r"^temp folder: /x: Permission denied; point TMPDIR"):
        ask_host(RunConfig(), Path("runs/mine"))


def test_the_loopback_is_looked_at_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, "look_at_loopback", judge_loopback("Network is unreachable"))
    ask_host(RunConfig(), Path("runs/mine"))
    with pytest.raises(ConfigError, match=r"^tcp: 127\.0\.0\.1: .*ip link set lo up"):
        ask_host(RunConfig(transport="tcp"), Path("runs/mine"))


def test_a_quota_of_part_of_a_core_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = judge_cores(counted=1, present=2, affinity=2, quota=0.3)
    found(monkeypatch, "look_at_cores", narrow)
    monkeypatch.setattr(asking, "available_bytes", lambda: 2**20)
    quota, memory = ask_host(RunConfig(), Path("runs/mine"))
    assert quota.startswith("quota: 1 of 2 (affinity 2, quota 0.3): threads that use up the quota")
    assert memory.startswith("memory: ")


@pytest.mark.parametrize(
    ("settings", "run_dir", "name"),
    [
        ({}, b"/tmp/\xff", "run_dir"),
        ({"data_dir": os.fsdecode(b"/\xff")}, b"/tmp/x", "data_dir"),
        ({"split": (os.fsdecode(b"\xff"),), "model": "a:b"}, b"/tmp/x", "split"),
    ],
    ids=["run_dir", "data_dir", "split"],
)
def test_a_name_that_is_no_utf_8_is_named(
    settings: dict[str, Any], run_dir: bytes, name: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: .*udcff.* is no UTF-8"):
        ask_host(RunConfig(**settings), Path(os.fsdecode(run_dir)))
