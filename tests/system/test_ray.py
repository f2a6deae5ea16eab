"""Workers that a Ray cluster places: two nodes of it on this host, with two CPUs each."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.marked_process import MarkedProcess
from tests.system.conftest import Launch

pytest.importorskip("ray", reason="ray is not installed; pip install 'dni-async[ray]'")

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.system, pytest.mark.slow]
COMMON = ("--engine=ray", "--no-baseline", "--width=64")
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}


class Node:
    """One node of a cluster, as ``ray start --block`` makes it, and all its processes."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        ray = Path(sys.executable).with_name("ray")
        self.process = MarkedProcess(
            [
                str(ray), "start", *arguments, "--block", "--num-cpus=2",
                "--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=80000000",
                "--disable-usage-stats",
            ],
            cwd=folder,
            environment={**QUIET, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self.process.wait_for("Ray runtime started")

    def stop(self) -> None:
        """End it, and see that nothing of it is left."""
        self.process.process.send_signal(signal.SIGTERM)
        left = self.process.left_after(15)
        self.process.abort()
        assert left == []


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster of two nodes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # Ray's sockets need a short path
    nodes: list[Node] = []
    try:
        head = ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}/t")
        nodes.append(Node(folder, *head))
        nodes.append(Node(folder, f"--address=127.0.0.1:{port}"))
        yield f"127.0.0.1:{port}"
    finally:
        for node in reversed(nodes):
            node.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told to Ray's makers."""
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)


def ours(run: Launch) -> dict[str, Any]:
    """The decoupled run's row of the report."""
    row: dict[str, Any] = run.report()["runs"][0]
    return row


def actor_of(worker: int) -> psutil.Process:
    """The process of the Ray actor whose child the worker is."""
    actor = psutil.Process(worker).parent()
    assert actor is not None
    assert actor.cmdline()[0].startswith("ray::")
    return actor


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_gone(*pids: int) -> None:
    """None of these processes is left."""
    deadline = time.monotonic() + 10
    while (left := list(filter(is_alive, pids))) and time.monotonic() < deadline:
        psutil.wait_procs([psutil.Process(pid) for pid in left if is_alive(pid)], timeout=0.1)
    assert left == []


def test_four_actors_on_two_nodes(launch: Callable[..., Launch], address: str) -> None:
    run = launch(*COMMON, f"--address={address}", "--ray-strategy=SPREAD", "--epochs=20")
    pids = run.worker_pids()
    raylets = {actor_of(pid).ppid() for pid in pids.values()}
    assert run.end() == 0, run.output
    assert len(raylets) == 2
    row = ours(run)
    assert [worker["pid"] for worker in row["workers"]] == list(pids.values())
    assert row["test_metrics"]["accuracy"] > 0.9
    assert_gone(*pids.values())
    run.assert_nothing_left()


def test_an_actor_that_is_killed_is_replaced(launch: Callable[..., Launch], address: str) -> None:
    run = launch(*COMMON, f"--address={address}", "--epochs=150", "--checkpoint-every=10")
    pids = run.worker_pids()
    run.wait_for("epoch +3 ")
    os.kill(actor_of(pids[1]).pid, signal.SIGKILL)
    assert_gone(pids[1])  # its worker went with it
    run.wait_for("stage 1 .* was lost: The actor is dead because")
    seconds = float(run.wait_for(r"stage 1 trains again after ([\d.]+) s").group(1))
    assert run.end() == 0, run.output
    row = ours(run)
    after = [worker["pid"] for worker in row["workers"]]
    assert [after[stage] for stage in (0, 2, 3)] == [pids[stage] for stage in (0, 2, 3)]
    assert after[1] != pids[1]
    assert [restart["stage"] for restart in row["restarts"]] == [1]
    assert row["test_metrics"]["accuracy"] > 0.9
    print("trained again after", seconds, "s")
    assert_gone(*after)
    run.assert_nothing_left()


def test_what_the_cluster_lacks_is_told(launch: Callable[..., Launch], address: str) -> None:
    run = launch(*COMMON, f"--address={address}", "--layers=5", "--join-timeout-s=2")
    assert run.end() == 75
    assert "to place 5 workers: the cluster has 4 CPUs, 5 are needed" in run.output
    run.assert_nothing_left()


def test_an_end_by_ctrl_c_leaves_no_actor(launch: Callable[..., Launch], address: str) -> None:
    run = launch(*COMMON, f"--address={address}", "--epochs=100000")
    pids = run.worker_pids()
    actors = [actor_of(pid).pid for pid in pids.values()]
    run.wait_for("epoch +1 ")
    run.interrupt()
    assert run.end() == 130, run.output
    assert_gone(*pids.values(), *actors)
    run.assert_nothing_left()


def test_a_launcher_that_is_killed_takes_its_workers_along(
    launch: Callable[..., Launch], address: str
) -> None:
    run = launch(*COMMON, f"--address={address}", "--epochs=100000")
    pids = run.worker_pids()
    run.wait_for("epoch +1 ")
    run.process.kill()
    run.end()
    assert_gone(*pids.values())


def test_no_cluster_is_said_in_a_sentence(launch: Callable[..., Launch]) -> None:
    run = launch(*COMMON, "--address=127.0.0.1:1")
    assert run.end() == 2
    assert "address: no Ray cluster answers at 127.0.0.1:1 (Connection refused)" in run.output
