"""Whole runs in which workers die at any moment: each comes to its end, and nobody waits."""

from __future__ import annotations

import json

import pytest

from dni_async.launcher.decisions import run_log
from tests.launcher.decisions.simulated_run import BATCHES, SimulatedRun

SEEDS = 400


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_run_ends_and_as_it_should(seed: int) -> None:
    run = SimulatedRun(seed)
    run.run()
    assert run.ending is not None
    assert run.entered == list(range(1, len(run.entered) + 1))
    if run.ending.ending == "done":
        assert len(run.entered) == run.batches // BATCHES, "an epoch is missing"
        assert run.left == set(range(run.num_stages))
        is_early = run.reached_at is not None and run.batches < run.epochs * BATCHES
        assert run.workers[0].is_drained or not is_early
        had_time = run.reached_at is not None and run.reached_at < (run.epochs - 1) * BATCHES
        assert is_early or not had_time, "the word to end early was lost"
        return
    assert run.ending.ending == "worker died"
    assert "was not ready" not in run.ending.why, "somebody was waited for in vain"
    is_late = run.left or run.epochs in run.entered
    assert is_late, "the worker could have been replaced"


def test_most_of_these_runs_lose_workers_and_reach_their_end() -> None:
    """Else the test above would show little."""
    runs = [SimulatedRun(seed) for seed in range(0, SEEDS, 4)]
    for run in runs:
        run.run()
    done = [run for run in runs if run.ending is not None and run.ending.ending == "done"]
    replaced = [run for run in done if any(w.incarnation for w in run.workers.values())]
    assert len(done) > 0.6 * len(runs)
    assert len(replaced) > 0.3 * len(runs)
    assert any(run.reached_at is not None and run.workers[0].incarnation for run in done)
    assert len([run for run in done if run.num_early]) > 0.05 * len(runs)
    assert len([run for run in done if run.is_stopped]) > 0.1 * len(runs)
    assert any(run.is_stopped and not run.batches for run in done), "before the start"


@pytest.mark.parametrize("seed", range(0, SEEDS, 40))
def test_what_was_decided_is_decided_again(seed: int) -> None:
    run = SimulatedRun(seed)
    run.run()
    lines = [json.dumps(run_log.header(run.terms)) + "\n"]
    lines += [json.dumps(run_log.entry(event.at, event, told)) + "\n" for event, told in run.log]
    assert run_log.replay(lines) == (len(run.log), None)
