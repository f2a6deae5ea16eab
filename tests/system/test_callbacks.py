"""Callbacks of a real run: called where train was, a stop, a death in between, what they raise."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from dni_async.launcher.commands.replay_events import replay_run
from tests.system.conftest import Script
from tests.system.test_python import DATA

pytestmark = pytest.mark.system

STOPPED = """
import os, psutil, signal, threading
heard = []
class Watch(dni_async.Callback):
    def on_start(self, run):
        assert threading.current_thread() is threading.main_thread()
        assert psutil.Process().children() == []
        heard.append(("start", run.settings.epochs, run.metrics))
    def on_epoch(self, run, epoch):
        assert run.epochs[-1] == epoch and run.metrics.get("test_loss") == epoch["test_loss"]
        if epoch["epoch"] == 2 and not run.restarts:
            children = psutil.Process().children(recursive=True)
            (stage,) = [child for child in children if child.name() == "dni-stage-1"]
            stage.kill()
        if run.restarts and run.restarts[0]["seconds"] and run.stop_reason is None:
            assert run.samples_per_second > 0
            heard.append("asked")
            run.stop("seen \\u2603 enough")
    def on_restart(self, run, restart):
        heard.append(("restart", restart["stage"], restart["seconds"]))
    def on_end(self, run, report):
        heard.append(("end", report["status"], os.path.isfile("kept/report.json")))
        run.stop("too late")
result = dni_async.train(
    model, data, epochs=1_000_000, callbacks=[Watch()], run_dir="kept", record_events=True,
    baseline=True, **quick,
)
ours, *baselines = result.report["runs"]
assert ours["stopped"]["reason"] == "seen \\u2603 enough" and result.report["status"] == "stopped"
assert 2 < len(ours["epochs"]) < 1_000_000
assert [len(run["epochs"]) for run in baselines] == 2 * [len(ours["epochs"])]
right = (result.predict(data[2]).argmax(1) == data[3]).mean()
assert abs(right - result.accuracy) < 1e-6 and result.metrics["test_accuracy"] == result.accuracy
print(heard)
"""


def test_a_run_is_followed_and_asked_to_stop(script: Callable[..., Script]) -> None:
    run = script(DATA + STOPPED)
    assert run.end(90) == 0, run.output
    assert run.output.splitlines()[-1] == str(
        [
            *(("start", 1_000_000, {}), ("restart", 1, None), "asked"),
            ("end", "stopped", True),
        ]
    )
    assert run.left() == []
    kept = run.folder / "kept"
    assert all(divergence is None for _, divergence in replay_run(kept).values())
    lines = (kept / "events" / "run.jsonl").read_text().splitlines()
    (asked,) = [line for line in lines[1:] if json.loads(line)[1][0] == "StopAsked"]
    assert json.loads(asked)[2][0] == ["EnterStop", "seen \u2603 enough"]


RAISING = """
import traceback
class Raises:
    def on_epoch(self, run, epoch):
        raise FileNotFoundError("no such curve")
    def on_end(self, run, report):
        print("end", report["status"])
try:
    dni_async.train(model, data, epochs=1_000_000, callbacks=[Raises()], run_dir="kept", **quick)
except FileNotFoundError as error:
    told = traceback.format_exc()
    print(error, told.count("no such curve"), "in on_epoch" in told, error.__context__)
class Presses:
    def on_epoch(self, run, epoch):
        signal.raise_signal(signal.SIGINT)
    on_end = Raises.on_end
import signal
try:
    dni_async.train(model, data, epochs=1_000_000, callbacks=[Presses()], **quick)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_what_a_callback_raises_comes_out_when_all_workers_have_ended(
    script: Callable[..., Script],
) -> None:
    run = script(DATA + RAISING)
    assert run.end() == 0, run.output
    assert run.output.splitlines() == [
        "end failed",
        "no such curve 2 True None",
        "end interrupted",
        "interrupted",
    ]
    assert run.left() == []
    report = json.loads((run.folder / "kept" / "report.json").read_text())
    assert report["status"] == "failed"
    assert len(report["runs"][0]["epochs"]) >= 1
