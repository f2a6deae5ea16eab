"""What is looked at on this host, and what a control group grants."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from dni_async.launcher.doctor.host.facts import (
    installed,
    look_at_host,
    look_at_listening,
    look_at_sharing,
    look_at_torch,
)
from dni_async.launcher.doctor.link.reach import Address


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
        assert look_at_listening(taken).verdict == "bad"
    assert look_at_listening(taken).verdict == "good"
    foreign = Address.parse("tcp://192.0.2.1:0", is_ours=True)
    assert "ip -brief" in look_at_listening(foreign).remedy
