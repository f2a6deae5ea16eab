"""How the threads of a baseline wait, by what was seen of the machine."""

from __future__ import annotations

import dataclasses
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from dni_async.config.run_config import RunConfig
from dni_async.errors import WorkerDied
from dni_async.launcher.jobs import baseline_process
from dni_async.launcher.jobs.balance import balance
from dni_async.launcher.jobs.baseline_process import train_baseline, waiting_beside
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.plan.plan import Plan, make_plan
from dni_async.launcher.report.results import RunResult
from dni_async.launcher.run_folder.folder import RunFolder

TALKATIVE = """
from torch import nn

class Talkative(nn.Linear):
    def forward(self, inputs):
        print("saw", *inputs.shape)
        return super().forward(inputs)

def make():
    print("is made")
    return nn.Sequential(Talkative(64, 8), nn.ReLU(), nn.Linear(8, 10))
"""
KILLED = """
import os, signal, sys
sys.stderr.buffer.write(b"no room \\xff")
sys.stderr.flush()
os.write(1, b'{"started": true}\\n{"trained": 1, "poi')
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Two cores, which others wanted before the run."""
    made = make_plan(RunConfig(layers=2, width=8, epochs=1))
    return dataclasses.replace(made, cores=2, load=3.0)


@pytest.mark.parametrize(
    ("others", "num_threads", "waiting"),
    [(0.0, 2, "spin"), (0.19, 2, "spin"), (0.2, 2, "sleep"), (None, 2, "sleep"), (1.5, 1, None)],
)
def test_threads_sleep_only_where_nothing_will_be_compared(
    plan: Plan, others: float | None, num_threads: int, waiting: str | None
) -> None:
    ours = RunResult("dni", "decoupled", "dni", 2, 2, others_cores=others)
    assert waiting_beside(ours, plan, num_threads) == waiting


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    """Of a run that has begun."""
    made = RunFolder(tmp_path / "run")
    made.create("")
    yield made
    made.close()


def one_thread() -> RunResult:
    return RunResult("baseline-1-thread", "baseline", "backprop", 1, 1)


def test_what_a_users_code_prints_is_no_answer(
    tmp_path: Path, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talkative.py").write_text(TALKATIVE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    plan = make_plan(RunConfig(model="talkative:make", epochs=1))
    _, sentence = balance(plan)
    assert sentence.startswith("measured ms per batch")
    result = one_thread()
    train_baseline(plan, folder, Display(Console(file=io.StringIO())), result)
    assert len(result.epochs) == 1
    log = (folder.logs / "baseline-1-thread.log").read_text()
    assert "is made" in log
    assert "saw 128 64" in log


def test_one_that_is_killed_in_the_middle_of_a_word_is_told_with_what_it_said(
    plan: Plan, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = [sys.executable, "-c", KILLED]
    monkeypatch.setattr(baseline_process, "command_for", lambda module: killed)
    with pytest.raises(WorkerDied, match="code -9:\nno room") as died:
        train_baseline(plan, folder, Display(Console(file=io.StringIO())), one_thread())
    assert died.value.exit_code == 137
