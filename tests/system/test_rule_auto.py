"""--rule auto: trials before the start, a run by what they found, and nothing of them left."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from dni_async.config.run_config import read_toml
from tests.system.conftest import Launch

pytestmark = pytest.mark.system


def test_a_run_has_the_rule_that_learnt_most_and_keeps_it(launch: Callable[..., Launch]) -> None:
    run = launch("--rule=auto", "--epochs=5", "--no-baseline", "--checkpoint-every=20")
    assert run.end() == 0, run.output
    run.assert_nothing_left()
    report = run.report()
    choice = report["rule_choice"]
    whole = {
        each["name"]: each["losses"][-1]
        for each in choice["candidates"]
        if len(each["losses"]) == 8  # as many as none that was left has
    }
    if not choice["ran_out"]:  # on a machine that stood still meanwhile
        assert whole[choice["taken"]] <= 1.01 * min(whole.values())
    assert all(each["failed"] is None for each in choice["candidates"])
    assert report["config"]["rule"] in ("dni", "dgl", "fdg")
    kept = read_toml(run.run_dir / "config.toml")
    assert {name: kept[name] for name in choice["settings"]} == choice["settings"]
    assert run.output.count(choice["sentence"].split(";")[0]) == 2  # before the start, and after

    again = launch("--resume", str(run.run_dir), "--rule=auto", "--epochs=6")
    assert again.end() == 0, again.output
    assert "trying" not in again.output
    assert again.report()["rule_choice"] == choice
    assert again.report()["config"]["rule"] == report["config"]["rule"]


def test_at_ctrl_c_the_trials_end_and_nothing_is_left(launch: Callable[..., Launch]) -> None:
    run = launch("--rule=auto", "--epochs=100000", "--no-baseline")
    run.wait_for("rule auto: trying dni")
    run.process.send_signal(signal.SIGINT)
    assert run.end(20) == 128 + signal.SIGINT, run.output
    assert run.left_after(5) == []
    assert list(run.temporary.iterdir()) == []
    assert not run.run_dir.exists()
