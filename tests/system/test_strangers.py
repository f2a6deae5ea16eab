"""Runs over tcp: with keys, and with strangers at every port."""

from __future__ import annotations

import re
import stat
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from benchmarks.workloads.attacks.strangers import imposters, is_let_in, knocking
from dni_async.launcher.places.local import command_for
from dni_async.transport.rings import read_invitation
from tests.system.conftest import Launch

pytestmark = pytest.mark.system
NUM_RAW = 280
NUM_IMPOSTERS = 20


def make_keys(folder: Path) -> subprocess.CompletedProcess[str]:
    """``dni-launch keys``."""
    return subprocess.run(
        command_for("dni_async.launcher.cli", "keys", str(folder)),
        capture_output=True,
        text=True,
        check=False,
    )


def ports_of(processes: list[psutil.Process]) -> list[int]:
    """The tcp ports on which they listen."""
    return [
        connection.laddr.port
        for process in processes
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    ]


def test_a_run_with_keys(launch: Callable[..., Launch], tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    assert make_keys(folder).returncode == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    again = make_keys(folder)
    assert again.returncode == 2
    assert "File exists" in again.stderr
    run = launch("--epochs=2", "--no-baseline", "--transport=tcp", f"--keys={folder}", "--width=64")
    assert run.end() == 0, run.output
    assert run.report()["config"]["keys"] == str(folder)
    run.assert_nothing_left()


def test_secrets_are_on_no_command_line_and_in_no_file_that_others_read(
    launch: Callable[..., Launch],
) -> None:
    """Of a run with keys of its own: they go through pipes, and into one file while it lasts."""
    run = launch("--epochs=100000", "--no-baseline", "--width=64", "--workers=local,remote",
                 "--listen=tcp://127.0.0.1:0", "--record-events")  # fmt: skip
    secret = run.wait_for(r"DNI_INVITATION=(\S+)").group(1)
    run.wait_for("waiting for workers|waiting for 2 workers")
    processes = [psutil.Process(run.process.pid)]
    processes += processes[0].children(recursive=True)
    assert not [p for p in processes if secret in " ".join(p.cmdline())]
    holding = {path for path in run.run_dir.rglob("*") if path.is_file() and holds(path, secret)}
    assert holding == {run.run_dir / "invitation"}
    assert stat.S_IMODE((run.run_dir / "invitation").stat().st_mode) == 0o600
    run.interrupt()
    assert run.end() == 130, run.output
    assert not (run.run_dir / "invitation").exists()
    assert not [path for path in run.run_dir.rglob("*") if path.is_file() and holds(path, secret)]


def holds(path: Path, secret: str) -> bool:
    """Whether the file has the invitation in it, or the secret key that it tells."""
    key = read_invitation(secret).own.secret
    content = path.read_bytes()
    return secret.encode() in content or key in content


def test_keys_that_others_may_read_are_refused_before_any_process(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    folder = tmp_path / "ring"
    make_keys(folder)
    (folder / "worker.secret").chmod(0o644)
    run = launch("--transport=tcp", f"--keys={folder}")
    assert run.end() == 2
    assert "Error: keys: " in run.output
    assert not run.run_dir.exists()


def test_strangers_at_every_port_change_nothing(launch: Callable[..., Launch]) -> None:
    run = launch("--epochs=100000", "--no-baseline", "--width=64", "--transport=tcp")
    pids = run.worker_pids()
    run.wait_for("epoch   2")
    workers = [psutil.Process(pid) for pid in pids.values()]
    ports = ports_of([psutil.Process(run.process.pid), *workers])
    assert len(ports) == len(workers)  # the coordinator's, and an inbox of each but the source
    before = [worker.memory_info().rss for worker in workers]
    with ExitStack() as stack:
        for number in range(NUM_RAW):
            knocked = stack.enter_context(knocking(ports[number % len(ports)]))
            assert not is_let_in(knocked)  # all are there: every port is shut
        for port in ports:
            endpoint = f"tcp://127.0.0.1:{port}"
            stack.enter_context(imposters(endpoint, NUM_IMPOSTERS // len(ports)))
        epoch = int(re.findall(r"epoch +(\d+)", run.output)[-1])
        run.wait_for(f"epoch +{epoch + 10} ")
        after = [worker.memory_info().rss for worker in workers]
    assert "was refused" not in run.output
    assert max(a - b for a, b in zip(after, before, strict=True)) < 100 * 2**20
    for stage in range(1, len(workers)):
        log = (run.run_dir / "logs" / f"worker-{stage}.log").read_text()
        assert "was refused" not in log
    run.interrupt()
    assert run.end() == 130, run.output
    run.assert_nothing_left()
