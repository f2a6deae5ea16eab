"""What a run meets when the system runs short: a clear sentence, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import safetensors.torch
import torch

from tests.system.conftest import Launch

pytestmark = pytest.mark.system
COMMON = ["--no-baseline", "--width=64", "--anchor-every=8"]
EXACT = ["--no-baseline", "--rule=backprop", "--layers=3", "--width=64", "--batch-size=1024"]
EXACT += ["--epochs=30", "--threads-per-worker=1", "--partition=even"]  # 256 KB an activation
SMALL_BYTES = 200_000  # more than any file of such a run, less than an activation
OWN_NETWORK = ["unshare", "--net", "sh", "-c"]
OWN_MOUNTS = ["unshare", "--mount", "sh", "-c"]


def prefix(shell: list[str], commands: str) -> list[str]:
    """What runs commands, then the launcher in its place; a skip where that is not allowed."""
    if shutil.which("unshare") is None or subprocess.run([*shell, commands, "sh"]).returncode:
        pytest.skip("no namespaces of one's own here")
    return [*shell, f'{commands} && exec "$@"', "sh"]


def workers_of(run: Launch) -> list[dict[str, Any]]:
    """The decoupled run's workers, as the report shows them."""
    rows: list[dict[str, Any]] = run.report()["runs"][0]["workers"]
    return rows


def assert_same_weights(run: Launch, other: Launch) -> None:
    """Bit for bit."""
    ours, theirs = (
        safetensors.torch.load_file(each.run_dir / "model.safetensors") for each in (run, other)
    )
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight), name


def test_without_memory_to_share_tensors_travel_in_frames(launch: Callable[..., Launch]) -> None:
    with_slots = launch(*EXACT)
    limited = launch(*EXACT, prefix=["prlimit", f"--fsize={SMALL_BYTES}"])
    for run in (with_slots, limited):
        assert run.end() == 0, run.output
    assert workers_of(with_slots)[0]["shared_bytes"] > 0
    assert workers_of(limited)[0]["shared_bytes"] == 0
    log = (limited.run_dir / "logs" / "worker-0.log").read_text()
    assert "(File too large); tensors travel in frames" in log
    assert_same_weights(limited, with_slots)
    limited.assert_nothing_left()


def test_a_full_shared_memory_file_system_is_not_in_the_way(launch: Callable[..., Launch]) -> None:
    fill = "mount -t tmpfs -o size=64k tmpfs /dev/shm && head -c 65536 /dev/zero > /dev/shm/full"
    run = launch(*EXACT, prefix=prefix(OWN_MOUNTS, fill))
    assert run.end() == 0, run.output
    assert workers_of(run)[0]["shared_bytes"] > 0
    run.assert_nothing_left()


def test_too_few_ports_are_named_before_training(launch: Callable[..., Launch]) -> None:
    own = prefix(
        OWN_NETWORK,
        "ip link set lo up && echo 40000 40002 > /proc/sys/net/ipv4/ip_local_port_range",
    )
    run = launch(*COMMON, "--transport=tcp", prefix=own)
    assert run.end() == 1, run.output
    last = run.output.splitlines()[-1]
    assert "cannot listen on tcp://127.0.0.1:0: Address already in use" in last
    run.assert_nothing_left()


def test_the_limit_of_open_files_is_raised_where_that_is_allowed(
    launch: Callable[..., Launch],
) -> None:
    run = launch(*COMMON, "--epochs=2", prefix=["prlimit", "--nofile=20:4096"])
    assert run.end() == 0, run.output
    run.assert_nothing_left()


def test_a_worker_without_descriptors_goes_on_without_that_checkpoint(
    launch: Callable[..., Launch],
) -> None:
    run = launch(*COMMON, "--epochs=100", "--checkpoint-every=20", "--keep-checkpoints=1")
    pids = run.worker_pids()
    run.wait_for("epoch +2 ")
    worker = psutil.Process(pids[1])
    allowed = worker.rlimit(psutil.RLIMIT_NOFILE)
    # Looked at often, as a file that is being written takes one for a moment.
    lowest, until = allowed[0], time.monotonic() + 1.0
    while time.monotonic() < until:
        lowest = min(lowest, lowest_free(worker.pid))
    worker.rlimit(psutil.RLIMIT_NOFILE, (lowest, allowed[1]))
    run.wait_for(r"checkpoint \d+ was not made: stage 1: Too many open files; training goes on")
    worker.rlimit(psutil.RLIMIT_NOFILE, allowed)
    assert run.end() == 0, run.output
    assert run.report()["runs"][0]["restarts"] == []
    assert [path.name for path in run.run_dir.glob("checkpoints/*") if int(path.name) > 600]
    run.assert_nothing_left()


def lowest_free(pid: int) -> int:
    """The descriptor that the process would be given next."""
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    return min(set(range(len(taken) + 1)) - taken)


@pytest.mark.slow
def test_links_that_are_cut_for_ten_seconds_heal(launch: Callable[..., Launch]) -> None:
    """All of a run's at once, the coordinator's too: its whole network is down."""
    own = prefix(OWN_NETWORK, "ip link set lo up")
    run = launch(*COMMON, "--epochs=40", "--transport=tcp", prefix=own)
    pids = run.worker_pids()
    run.wait_for("epoch +2 ")
    enter = ["nsenter", "--net", "--target", str(pids[1]), "ip", "link", "set", "lo"]
    subprocess.run([*enter, "down"], check=True)
    known = len(run.output)
    gone, _ = psutil.wait_procs([psutil.Process(pids[2])], timeout=10)
    subprocess.run([*enter, "up"], check=True)
    assert not gone
    assert run.output[known:].count("epoch") <= 1
    assert run.end() == 0, run.output
    row = run.report()["runs"][0]
    assert row["restarts"] == []
    assert [epoch["epoch"] for epoch in row["epochs"]] == list(range(1, 41))
    assert len({epoch["num_samples"] for epoch in row["epochs"]}) == 1
    run.assert_nothing_left()
