"""What is looked at on this host, and what a control group grants."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from dni_async.launcher.doctor.host.facts import (
    cgroup_quota,
    installed,
    look_at_host,
    look_at_listening,
    look_at_sharing,
    look_at_torch,
)
from dni_async.launcher.doctor.link.reach import Address


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """A root of control groups, none of which limits anything."""
    (tmp_path / "cpu.max").write_text("max 100000\n")
    return tmp_path


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({}, "0::/\n", None),
        ({"cpu.max": "150000 100000"}, "0::/\n", 1.5),
        ({"a/cpu.max": "max 100000", "a/b/cpu.max": "400000 100000"}, "0::/a/b\n", 4.0),
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "400000 100000"}, "0::/a/b\n", 2.0),
        ({"a/cpu.max": "100000 100000"}, "0::/b\n", None),
        (
            {"cpu/x/cpu.cfs_quota_us": "50000", "cpu/x/cpu.cfs_period_us": "100000"},
            "4:cpu,cpuacct:/x\n",
            0.5,
        ),
        (
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            "4:cpu,cpuacct:/\n",
            None,
        ),
        ({"cpu.max": "150000 100000"}, "0::/../../outside\n", 1.5),
    ],
)
def test_the_quota_is_the_least_of_all_groups_above(
    groups: Path, files: dict[str, str], own: str, expected: float | None
) -> None:
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    (groups / "own").write_text(own)
    assert cgroup_quota(groups, groups / "own") == expected


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path, tmp_path / "own") is None


def test_everything_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    names = [finding.name for finding in look_at_host()]
    assert {"python", "torch", "cores", "load", "open files", "temp folder", "tcp", "clock"} <= set(
        names
    )
    assert list(tmp_path.iterdir()) == []


def test_torch_and_shared_memory_as_they_are_here() -> None:
    findings, facts = look_at_torch(width=32, batch_size=8)
    assert facts is not None
    assert facts["torch"] == installed("torch")
    assert facts["layer_s"] > 0
    assert len(findings) == max(1, len(facts["devices"]))
    sharing = look_at_sharing(facts)
    assert (sharing[0].name, sharing[0].verdict) == ("shared memory", "good"), sharing[0]
    assert len(sharing) == 1 + len(facts["devices"])
    assert all(finding.verdict == "good" for finding in sharing), sharing


def test_listening() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = Address.parse(f"tcp://127.0.0.1:{server.getsockname()[1]}", is_ours=True)
        assert look_at_listening(taken, may_be_exposed=False).verdict == "bad"
    assert look_at_listening(taken, may_be_exposed=False).verdict == "good"
    foreign = Address.parse("tcp://192.0.2.1:0", is_ours=True)
    assert "--keys" in look_at_listening(foreign, may_be_exposed=False).remedy
    assert "ip -brief" in look_at_listening(foreign, may_be_exposed=True).remedy
