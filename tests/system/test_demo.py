"""The demo as a user starts it, in small."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documented import blocks, unlike
from tests.structure import ROOT
from tests.system.conftest import Launch

pytestmark = pytest.mark.system
SMALL = ["demo", "--layers=3", "--width=64", "--epochs=5"]


def test_it_compares_then_kills_a_worker_that_comes_back(launch: Callable[..., Launch]) -> None:
    run = launch(*SMALL)
    assert run.end(90) == 0, run.output
    assert re.search(r"epochs; sized for \d+ cores?, .*as asked: layers 3, width 64", run.output)
    told = json.loads((run.run_dir / "report.json").read_text())
    assert [each["kind"] for each in told["runs"]] == ["decoupled", "baseline", "baseline"]
    assert "baseline-all-threads" in run.output
    second = json.loads(Path(f"{run.run_dir}-kill", "report.json").read_text())
    (killed,) = second["runs"][0]["restarts"]
    pid = re.search(r"kill -9 took the worker of stage 1 \(pid (\d+)\)", run.output)
    assert pid is not None, run.output
    assert f"stage 1 (cpu, pid {pid.group(1)}) was killed by SIGKILL" in run.output
    assert f"and {killed['seconds']:.2f} s later a new process" in run.output
    assert re.search(r"\d+ s in all", run.output)
    assert f"dni-report {run.run_dir}" in run.output
    (shown,) = (each for each in blocks(ROOT / "README.md") if "$ dni-launch demo" in each.text)
    assert unlike(shown, run.output) == []
    run.assert_nothing_left()


def test_ctrl_c_in_the_second_act_leaves_nothing(launch: Callable[..., Launch]) -> None:
    run = launch(*SMALL, "--no-baseline")
    run.wait_for(r"(?s)Second act.*workers started")
    run.interrupt()
    assert run.end(30) == 130, run.output
    run.assert_nothing_left()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--epohcs=3"], "No such option"),
        (["--workers=remote"], "workers: the demo kills a process of this host"),
        (["--engine=ray"], "engine: the demo kills a process of this host"),
        (["--report=missing/r.json"], "report: the folder"),
    ],
    ids=["unknown", "remote", "ray", "nowhere"],
)
def test_what_it_cannot_show_is_said_before_any_process_starts(
    launch: Callable[..., Launch], flags: list[str], sentence: str
) -> None:
    run = launch("demo", *flags)
    assert run.end(30) == 2
    assert sentence in run.output
    assert not run.run_dir.exists()
