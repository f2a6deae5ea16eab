"""However a run begins, it ends as docs/endings.md says, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import ROOT, Launch
from tests.system.ways import WAYS, Way

PAGE = ROOT / "docs" / "endings.md"


@pytest.mark.system
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, marks=[pytest.mark.slow] if way.is_slow else [], id=way.name)
        for way in WAYS
    ],
)
def test_it_ends_as_the_page_says(launch: Callable[..., Launch], way: Way) -> None:
    run = launch(*way.flags, beginning=way.beginning, columns=way.columns)
    way.then(run)
    assert run.end(30) == way.code, run.output
    assert "Traceback" not in run.output
    assert run.finds(way.says), run.output
    assert run.left_after(8) == []
    assert status_of(run.run_dir) in way.status.split(" or ")
    assert list(run.temporary.iterdir()) == []
    assert way.code < 0 or list(run.run_dir.rglob("*.part")) == []  # --resume drops those
    if way.keeps:
        resumed = launch("--resume", str(run.run_dir), "--epochs=3")
        assert "resumed from checkpoint" in resumed.wait_for("resumed from checkpoint").group()


def status_of(run_dir: Path) -> str:
    """Of its report; "" where there is none, "none" where there is no run."""
    report = run_dir / "report.json"
    if not run_dir.exists():
        return "none"
    status: str = json.loads(report.read_text())["status"] if report.is_file() else ""
    return status


def test_the_page_has_each_way_and_no_other() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| how ")]
    assert rows == [way.row for way in WAYS]
