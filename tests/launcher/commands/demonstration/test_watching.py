"""What looks on while the demo runs: one kills a worker, the other sees to its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any, cast

from dni_async.launcher.commands.demonstration.curtain import Curtain
from dni_async.launcher.commands.demonstration.killing import Killing
from dni_async.launcher.report.results import RestartResult
from tests.launcher.told import baseline, progress

WAITS = [sys.executable, "-c", "input()"]


def laid_out(num_stages: int = 3, num_updates: int = 90) -> Killing:
    """One that knows the plan."""
    killing = Killing()
    killing.lay_out(cast("Any", SimpleNamespace(num_stages=num_stages, num_updates=num_updates)))
    return killing


def test_it_kills_the_middle_stage_once_it_is_on_its_way() -> None:
    with subprocess.Popen(WAITS, stdin=subprocess.PIPE) as worker:
        killing = laid_out()
        killing.started(1.0, {0: -1, 1: worker.pid, 2: -1})  # a process that is none of its own
        killing.progress(progress(0, updates=90))
        killing.progress(progress(1, updates=29))
        assert killing.killed is None
        killing.progress(progress(1, updates=30))
        killing.progress(progress(1, updates=31))
        assert worker.wait() == -signal.SIGKILL
    assert killing.killed == (1, worker.pid)
    restart = RestartResult(1, "killed", 1.0)
    killing.died(restart)
    assert killing.restart is restart


def test_a_worker_that_is_gone_already_was_not_killed() -> None:
    with subprocess.Popen(WAITS, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
        worker.wait()
    killing = laid_out()
    killing.started(1.0, {1: worker.pid})
    killing.progress(progress(1, updates=60))
    killing.died(RestartResult(1, "by itself", 1.0))
    assert killing.killed is None
    assert killing.restart is None


def test_a_number_that_a_dead_worker_had_is_never_killed() -> None:
    with subprocess.Popen(WAITS, stdin=subprocess.PIPE) as stranger:
        killing = laid_out()
        killing.started(1.0, {1: stranger.pid})
        killing.died(RestartResult(1, "by itself", 1.0))
        killing.progress(progress(1, updates=60))
        assert killing.killed is None
        stranger.communicate(b"\n")
    assert stranger.returncode == 0


def test_what_trains_when_the_time_is_up_is_asked_to_stop() -> None:
    run = baseline()
    early, late = Curtain(time.monotonic() + 3600), Curtain(time.monotonic())
    for curtain in (early, late):
        curtain.trained(run, 1)  # nothing has begun
        curtain.begin(run)
        curtain.trained(run, 1)
        assert (run.stop_asked is not None) == (curtain is late)
