"""However a run begins, it ends as docs/endings.md says, and leaves nothing behind."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import ROOT, Launch
from tests.system.ways import WAYS, Way

MAY_BEGIN_SO = (
    os.geteuid() == 0 and not subprocess.run(["unshare", "--net", "--mount", "true"]).returncode
)
PAGE = ROOT / "docs" / "endings.md"


@pytest.mark.system
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, marks=[pytest.mark.slow] if way.is_slow else [], id=way.name)
        for way in WAYS
    ],
)
def test_it_ends_as_the_page_says(launch: Callable[..., Launch], way: Way, tmp_path: Path) -> None:
    if way.beginning.needs_root and not MAY_BEGIN_SO:
        pytest.skip("no namespaces, users and mounts of one's own here")
    here = tmp_path / "here"
    here.mkdir()
    open_to_all(here)
    way.prepares(here)
    run = launch(
        *way.flags,
        run_dir=Path(way.run_dir.replace("{here}", str(here))) if way.run_dir else here / "run",
        beginning=way.begun_in(here),
        columns=way.columns,
    )
    way.then(run)
    assert run.end(30) == way.code, run.output
    assert "Traceback" not in run.output
    assert way.code != 2 or "run directory: " not in run.output  # which is said once it is there
    assert run.finds(way.says), run.output
    assert run.left_after(8) == []
    assert status_of(run.run_dir) in way.status.split(" or ")
    assert list(run.temporary.iterdir()) == []
    assert way.code < 0 or list(run.run_dir.rglob("*.part")) == []  # --resume drops those
    if way.keeps:
        resumed = launch("--resume", str(run.run_dir), "--epochs=3")
        assert "resumed from checkpoint" in resumed.wait_for("resumed from checkpoint").group()


def open_to_all(folder: Path) -> None:
    """Let every user make something in it."""
    for each in (folder, *folder.parents):
        if each.is_relative_to(tempfile.gettempdir()) and each.owner() == getpass.getuser():
            each.chmod(each.stat().st_mode | 0o055)
    folder.chmod(0o777)


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
