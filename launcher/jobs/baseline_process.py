"""Runs the baseline in a process of its own, with a thread budget of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final, Literal

from dni_async.errors import WorkerDied
from dni_async.files.scratch import SCRATCH, make_scratch, remove_scratch
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.monitoring.others import OthersWatch
from dni_async.launcher.places.lines import lines_of
from dni_async.launcher.places.local import command_for, read_from, thread_environment
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.comparison import disturbed
from dni_async.launcher.report.curves import Curves
from dni_async.launcher.report.results import EpochResult, RunResult, StopResult
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.wire.points import Point

__all__ = ["baseline_result", "train_baseline", "waiting_beside"]

_SAID: Final = {
    "spin": "threads with nothing to do spin for a while, as OpenMP has it",
    "sleep": "threads with nothing to do sleep, because other programs want the cores",
}


def baseline_result(plan: Plan, name: str, num_threads: int, ours: RunResult) -> RunResult:
    """Of a baseline, which has yet to begin."""
    return RunResult(
        name=name,
        kind="baseline",
        rule="backprop",
        num_workers=1,
        num_threads=num_threads,
        goal=plan.config.goal,
        waiting=waiting_beside(ours, plan, num_threads),
    )


def waiting_beside(
    ours: RunResult, plan: Plan, num_threads: int
) -> Literal["spin", "sleep"] | None:
    """What is fastest for a baseline after ours, by what others took while that trained (0103).

    They sleep only where nothing will be compared: on a quiet machine that was up to three times as
    slow, beside others four to twenty-seven times as fast.
    """
    if num_threads == 1:
        return None
    told = {"name": ours.name, "others_cores": ours.others_cores}
    return "sleep" if disturbed(told, {"cores": plan.cores, "load": plan.load}) else "spin"


def train_baseline(
    plan: Plan,
    folder: RunFolder,
    display: Display,
    result: RunResult,
    *,
    weights_path: Path | None = None,
    last_epoch: int | None = None,
) -> None:
    """Train plan's network by backpropagation in one process of result.num_threads threads.

    They wait as result.waiting says; None: as OpenMP has it. Fills in result as it goes; where that
    is asked to stop, the process is ended. last_epoch: of the run that it is compared with, where
    that was stopped. On GPUs it gets the first device. Raises WorkerDied if the process fails; it
    never outlives the call.
    """
    job = {
        "config": plan.config.to_dict(),
        "num_threads": result.num_threads,
        "device": plan.devices[0],
        "output_shape": plan.output_shape,
        "input_shape": plan.input_shape,
        "form": asdict(plan.form),
        "parent": os.getpid(),
        "last_epoch": last_epoch,
        "weights_path": None if weights_path is None else str(weights_path),
    }
    log = folder.logs / f"{result.name}.log"
    with ExitStack() as after:
        errors = _open_log(log)
        after.callback(os.close, errors)
        scratch = make_scratch().path
        after.callback(remove_scratch, scratch)
        if result.waiting is not None:
            with suppress(OSError):
                os.write(errors, f"{_SAID[result.waiting]}\n".encode())
        sleeps = result.waiting == "sleep"
        environment = thread_environment(result.num_threads, shares_cores=sleeps)
        if not sleeps:
            environment.pop("OMP_WAIT_POLICY", None)  # whatever the user has for other programs
        process = subprocess.Popen(
            command_for("dni_async.launcher.jobs.baseline"),
            env={**environment, SCRATCH: scratch},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        try:
            _follow(process, job, result, folder, display, plan.config.stuck_after_s)
        finally:
            if process.poll() is None:
                process.kill()
            code = process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
    if code != 0 and result.stopped is None:
        raise WorkerDied(
            f"{result.name} exited with code {code}:\n{read_from(log, 0)}",
            code if code > 0 else 128 - code,
        )


def _open_log(path: Path) -> int:
    """A descriptor to write to; what a full disk has no log of is trained all the same."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def _follow(
    process: subprocess.Popen[str],
    job: dict[str, object],
    result: RunResult,
    folder: RunFolder,
    display: Display,
    stuck_after_s: float,
) -> None:
    began, others, curves = time.perf_counter(), OthersWatch(result), Curves()
    display.waiting(f"starting the process of {result.name}")
    assert process.stdin is not None
    try:
        json.dump(job, process.stdin)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it died at once; its code and log say why
    for line in lines_of(process, result.name, stuck_after_s):
        row = json.loads(line)
        if "started" in row:
            result.startup_seconds = time.perf_counter() - began
            display.waiting("")
            others.begin()
        elif "trained" in row:
            display.trained(result, row["trained"])
            for point in curves.enter(0, (Point(**each) for each in row["points"])):
                folder.add_metrics({"run": result.name, "point": point.to_dict()})
                display.point(result, point)
        else:
            epoch = EpochResult(**row)
            result.epochs.append(epoch)
            display.epoch(result, epoch)
            folder.add_metrics({"run": result.name, **row})
        others.look()
        if _is_to_end(result, display):
            process.kill()
            break
    others.look(is_last=True)
    process.wait()


def _is_to_end(result: RunResult, display: Display) -> bool:
    """Whether somebody asks for its end, which is noted then."""
    reason = result.take_stop()
    if reason is None:
        return False
    result.stopped = StopResult(reason)
    display.note(f"{result.name} ends, as it was asked to: {reason}")
    return True
