"""A worker's death costs seconds and not the run: it is replaced, and nobody else is."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.marked_process import DEADLINE_S
from tests.system.conftest import Launch

pytestmark = pytest.mark.system
COMMON = ["--no-baseline", "--width=64", "--anchor-every=8"]


def kill(run: Launch, pids: dict[int, int], stage: int) -> None:
    """Kill the stage's worker and wait until another one trains in its place."""
    known = len(re.findall(rf"stage {stage} trains again", run.output))
    os.kill(pids[stage], signal.SIGKILL)
    run.wait_for(rf"(?s)(stage {stage} trains again.*){{{known + 1}}}")
    (pids[stage],) = hosts(run, stage)


def hosts(run: Launch, stage: int) -> list[int]:
    """The pids of the processes that host a stage."""
    return [each.pid for each in run.alive() if each.name() == f"dni-stage-{stage}"]


def fork_server(pids: dict[int, int], stage: int) -> psutil.Process:
    """The parent of all workers, asked of one that lives."""
    other = next(pid for at, pid in pids.items() if at != stage)
    parent = psutil.Process(other).parent()
    assert parent is not None
    return parent


def wait_for_checkpoint(run: Launch, pids: dict[int, int]) -> None:
    """Until one is whole that a run can be resumed from."""
    deadline = time.monotonic() + DEADLINE_S
    while not any(run.run_dir.glob("checkpoints/*/manifest.json")):
        assert time.monotonic() < deadline, run.output
        psutil.wait_procs([psutil.Process(pids[0])], timeout=0.01)


def decoupled(run: Launch) -> dict[str, Any]:
    """The decoupled run's row of the report."""
    row: dict[str, Any] = run.report()["runs"][0]
    return row


@pytest.mark.parametrize("transport", ["auto", pytest.param("tcp", marks=pytest.mark.slow)])
def test_every_stage_may_be_killed_and_the_others_keep_their_processes(
    launch: Callable[..., Launch], transport: str
) -> None:
    run = launch(*COMMON, "--epochs=60", "--max-restarts=4", f"--transport={transport}")
    pids = run.worker_pids()
    first = dict(pids)
    draw = random.Random(0)
    stages = [0, 1, 3]  # source, middle, head
    draw.shuffle(stages)
    for count, stage in enumerate(stages):
        run.wait_for(f"epoch +{3 * count + 1} ")
        kill(run, pids, stage)
    assert run.end(120) == 0, run.output
    assert pids[2] == first[2]
    row = decoupled(run)
    assert [worker["pid"] for worker in row["workers"]] == list(pids.values())
    assert [restart["stage"] for restart in row["restarts"]] == stages
    assert [epoch["epoch"] for epoch in row["epochs"]] == list(range(1, 61))
    assert row["test_metrics"]["accuracy"] > 0.9
    whole = max(epoch["num_samples"] for epoch in row["epochs"])
    assert sum(epoch["num_samples"] < whole for epoch in row["epochs"]) <= 2 * len(stages)
    print("recovered in", sorted(restart["seconds"] for restart in row["restarts"]), "s")
    run.assert_nothing_left()


def test_neighbours_may_die_together(launch: Callable[..., Launch]) -> None:
    run = launch(*COMMON, "--epochs=40", "--max-restarts=4")
    pids = run.worker_pids()
    run.wait_for("epoch +2 ")
    for stage in (1, 2, 3):
        os.kill(pids[stage], signal.SIGKILL)
    for stage in (1, 2, 3):
        run.wait_for(f"stage {stage} trains again")
    assert run.end(120) == 0, run.output
    assert decoupled(run)["test_metrics"]["accuracy"] > 0.9
    assert [epoch["epoch"] for epoch in decoupled(run)["epochs"]] == list(range(1, 41))
    run.assert_nothing_left()


def test_a_replacement_that_is_killed_while_it_joins_is_replaced(
    launch: Callable[..., Launch],
) -> None:
    run = launch(*COMMON, "--epochs=60", "--max-restarts=4")
    pids = run.worker_pids()
    server = fork_server(pids, 2)
    run.wait_for("epoch +1 ")
    os.kill(pids[2], signal.SIGKILL)
    known = set(pids.values())
    while not (new := [child.pid for child in server.children() if child.pid not in known]):
        psutil.wait_procs(server.children(), timeout=0.01)
    os.kill(new[0], signal.SIGKILL)
    run.wait_for("stage 2 trains again")
    assert run.end(120) == 0, run.output
    assert len(decoupled(run)["restarts"]) == 2
    run.assert_nothing_left()


def test_stages_that_predict_their_inputs_are_replaced_too(launch: Callable[..., Launch]) -> None:
    run = launch(*COMMON, "--unlock=forward", "--epochs=60", "--max-restarts=4")
    pids = run.worker_pids()
    for count, stage in enumerate((1, 3, 0)):
        run.wait_for(f"epoch +{4 * count + 1} ")
        kill(run, pids, stage)
    assert run.end(120) == 0, run.output
    row = decoupled(run)
    assert [restart["stage"] for restart in row["restarts"]] == [1, 3, 0]
    assert [epoch["epoch"] for epoch in row["epochs"]] == list(range(1, 61))
    assert row["test_metrics"]["accuracy"] > 0.9
    run.assert_nothing_left()


def test_a_stage_alone_is_replaced_too(launch: Callable[..., Launch]) -> None:
    """It goes on behind what it has told of, with the weights of the newest checkpoint."""
    run = launch(*COMMON, "--stages=1", "--epochs=60", "--checkpoint-every=20")
    pids = run.worker_pids()
    run.wait_for("epoch +30 ")
    os.kill(pids[0], signal.SIGKILL)
    run.wait_for("stage 0 trains again")
    assert run.end(120) == 0, run.output
    row = decoupled(run)
    assert [epoch["epoch"] for epoch in row["epochs"]] == list(range(1, 61))
    assert row["workers"][0]["updates"] > 500  # from the seed at most half of them
    assert row["test_metrics"]["accuracy"] > 0.9
    run.assert_nothing_left()


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_a_fork_server_that_is_gone_is_replaced_and_hides_no_death(
    launch: Callable[..., Launch], signum: int
) -> None:
    """A worker dies while the server is stopped, or has just died; another after that."""
    run = launch(*COMMON, "--epochs=4000", "--max-restarts=2")
    pids = run.worker_pids()
    first = dict(pids)
    run.wait_for("epoch +1 ")
    os.kill(fork_server(pids, 1).pid, signum)
    kill(run, pids, 1)
    said = "the fork server was killed by SIGKILL; its workers go on, and another one is started"
    assert said in run.output
    assert f"stage 1 (cpu, pid {first[1]}) was killed by SIGKILL" in run.output
    os.kill(pids[2], 40)  # a child of the first server, and of nobody but the launcher now
    run.wait_for("stage 2 trains again")
    assert f"stage 2 (cpu, pid {first[2]}) was killed by signal 40" in run.output
    assert hosts(run, 0) == [first[0]]
    run.interrupt()
    assert run.end(30) == 128 + signal.SIGINT, run.output
    run.assert_nothing_left()


def test_a_fork_server_that_is_killed_before_it_is_ready_is_replaced(
    launch: Callable[..., Launch],
) -> None:
    run = launch("--no-baseline", "--rule=backprop", "--epochs=2")
    own = psutil.Process(run.process.pid)
    deadline = time.monotonic() + DEADLINE_S
    while not (below := own.children()):
        assert time.monotonic() < deadline, run.output
        psutil.wait_procs([], timeout=0.005)
    below[0].kill()
    run.wait_for("the fork server was killed by SIGKILL; .* another one is started")
    assert run.end() == 0, run.output
    assert len(decoupled(run)["epochs"]) == 2
    run.assert_nothing_left()


def test_when_launcher_and_second_fork_server_go_so_do_the_workers_of_the_first(
    launch: Callable[..., Launch],
) -> None:
    """One is stopped: it is killed when the others have left."""
    run = launch(*COMMON, "--epochs=100000")
    pids = run.worker_pids()
    run.wait_for("epoch +1 ")
    fork_server(pids, 1).kill()
    run.wait_for("another one is started")
    kill(run, pids, 1)
    os.kill(pids[2], signal.SIGSTOP)
    run.process.kill()
    run.process.wait()
    assert run.left_after(10) == []
    assert list(run.temporary.iterdir()) == []


@pytest.mark.parametrize("rule", ["dni", pytest.param("backprop", marks=pytest.mark.slow)])
def test_a_worker_that_is_killed_while_all_start_is_started_again(
    launch: Callable[..., Launch], rule: str
) -> None:
    run = launch("--no-baseline", f"--rule={rule}", "--epochs=2")
    own = psutil.Process(run.process.pid)
    deadline = time.monotonic() + DEADLINE_S
    found: list[psutil.Process] = []
    while not found:
        assert time.monotonic() < deadline, run.output
        below = own.children(recursive=True)
        found = [each for each in below if each.name() == "dni-stage-1"]
        psutil.wait_procs(below, timeout=0.005)
    found[0].kill()
    run.wait_for(r"was killed by SIGKILL; its log is \S+; another one is started \(1 of 3\)")
    assert run.end() == 0, run.output
    row = decoupled(run)
    assert row["restarts"] == [], "nothing had been learnt"
    assert [epoch["epoch"] for epoch in row["epochs"]] == [1, 2]
    run.assert_nothing_left()


def test_when_restarts_are_used_up_the_first_cause_is_shown(launch: Callable[..., Launch]) -> None:
    """And the run can be resumed with more of them."""
    run = launch(*COMMON, "--epochs=100000", "--max-restarts=1", "--checkpoint-every=10")
    pids = run.worker_pids()
    run.wait_for("epoch +1 ")
    before = dict(pids)
    kill(run, pids, 1)
    wait_for_checkpoint(run, pids)
    os.kill(pids[2], signal.SIGKILL)
    assert run.end(30) == 128 + signal.SIGKILL
    assert f"stage 2 (cpu, pid {pids[2]}) was killed by SIGKILL" in run.output
    assert f"stage 1 (cpu, pid {before[1]}) was killed" in run.output.splitlines()[-1]
    run.assert_nothing_left()
    resumed = launch("--resume", str(run.run_dir), "--max-restarts=2")
    pids = resumed.worker_pids()
    resumed.wait_for("epoch +")
    kill(resumed, pids, 1)
    resumed.interrupt()
    assert resumed.end() == 130, resumed.output
    resumed.assert_nothing_left()


def test_an_exact_run_ends_with_a_worker(launch: Callable[..., Launch]) -> None:
    run = launch("--no-baseline", "--rule=backprop", "--epochs=100000")
    pids = run.worker_pids()
    run.wait_for("epoch +1 ")
    os.kill(pids[1], signal.SIGKILL)
    assert run.end(30) == 128 + signal.SIGKILL
    assert "--resume" in run.output.splitlines()[-1]
    run.assert_nothing_left()


def test_a_replacement_goes_on_from_the_newest_checkpoint(launch: Callable[..., Launch]) -> None:
    """Its updates are those up to the cut, and those since its own start."""
    run = launch(*COMMON, "--epochs=60", "--checkpoint-every=20")
    pids = run.worker_pids()
    run.wait_for(r"epoch +30 ")
    kill(run, pids, 1)
    assert run.end(120) == 0, run.output
    row = decoupled(run)
    batches = 60 * 12
    assert [epoch["epoch"] for epoch in row["epochs"]] == list(range(1, 61))
    assert 500 < row["workers"][1]["updates"] < batches  # from the seed at most half of them
    assert len(row["restarts"]) == 1
    assert row["restarts"][0]["seconds"] > 0
    run.assert_nothing_left()
