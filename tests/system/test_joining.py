"""Workers that join from elsewhere: here from this host, by the means that any host has."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dni_async.launcher.places.local import command_for
from tests.marked_process import MarkedProcess
from tests.system.conftest import Launch

pytestmark = pytest.mark.system
slow = pytest.mark.slow
RUN_ID = "a-password-of-the-run"
REMOTE = ("--workers=remote", "--listen=tcp://127.0.0.1:0", "--no-baseline", "--width=64")
Join = Callable[..., MarkedProcess]


@pytest.fixture
def join(tmp_path: Path) -> Iterator[Join]:
    """Start workers that join the run of a launch; whatever the test does, they are gone after."""
    started: list[MarkedProcess] = []

    def start(address: str, *arguments: str) -> MarkedProcess:
        command = command_for("dni_async.workers.__main__", f"--join={address}", *arguments)
        worker = MarkedProcess(
            command,
            cwd=tmp_path,
            environment={"DNI_RUN_ID": RUN_ID},
        )
        started.append(worker)
        return worker

    yield start
    for each in started:
        each.abort()


@pytest.fixture(autouse=True)
def run_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides have the run's id from their environment."""
    monkeypatch.setenv("DNI_RUN_ID", RUN_ID)


def address_of(run: Launch) -> str:
    """Where the run waits for its workers."""
    return run.wait_for(r"dni-worker --join (tcp://\S+)").group(1)


def ours(run: Launch) -> dict[str, Any]:
    """The decoupled run's row of the report."""
    row: dict[str, Any] = run.report()["runs"][0]
    return row


def assert_all_left(*workers: MarkedProcess) -> None:
    """Each has ended well, and no file of its is left."""
    for worker in workers:
        assert worker.end() == 0, worker.output
        assert list(worker.temporary.iterdir()) == []


def test_all_workers_join(launch: Callable[..., Launch], join: Join) -> None:
    run = launch(*REMOTE, "--epochs=3", "--width=256")
    workers = [join(address_of(run)) for _ in range(4)]
    assert run.end() == 0, run.output
    row = ours(run)
    assert {each["pid"] for each in row["workers"]} == {each.process.pid for each in workers}
    assert row["test_metrics"]["accuracy"] > 0.6
    assert row["workers"][0]["shared_bytes"] > 0  # they are on one host
    assert_all_left(*workers)
    run.assert_nothing_left()


def test_local_and_remote_workers_mix(launch: Callable[..., Launch], join: Join) -> None:
    run = launch(*REMOTE, "--epochs=10", "--workers=local,remote")
    workers = [join(address_of(run), "--stage=3"), join(address_of(run), "--stage=2")]
    assert run.end() == 0, run.output
    row = ours(run)
    assert [each["pid"] for each in row["workers"]][2:] == [
        workers[1].process.pid,
        workers[0].process.pid,
    ]
    assert row["test_metrics"]["accuracy"] > 0.6
    assert_all_left(*workers)
    run.assert_nothing_left()


@pytest.mark.parametrize("transport", [pytest.param("auto", marks=slow), "tcp"])
def test_lockstep_stays_exact(launch: Callable[..., Launch], join: Join, transport: str) -> None:
    flags = [flag for flag in REMOTE if flag != "--no-baseline"]
    run = launch(*flags, "--rule=backprop", "--epochs=2", f"--transport={transport}")
    workers = [join(address_of(run), "--threads=1") for _ in range(4)]
    assert run.end() == 0, run.output
    decoupled, alone, *_ = run.report()["runs"]
    told = [(each["train_loss"], each["test_loss"]) for each in decoupled["epochs"]]
    assert told == [(each["train_loss"], each["test_loss"]) for each in alone["epochs"]]
    assert_all_left(*workers)


def test_a_spare_takes_the_place_of_the_dead(launch: Callable[..., Launch], join: Join) -> None:
    run = launch(*REMOTE, "--epochs=60", "--checkpoint-every=10")
    address = address_of(run)
    workers = [join(address, f"--stage={stage}") for stage in range(4)]
    run.wait_for("workers started")
    spare = join(address)
    spare.wait_for("waiting for a stage")
    run.wait_for("epoch +2 ")
    workers[1].process.kill()
    run.wait_for(r"stage 1 .* was lost: its connection has ended")
    run.wait_for("stage 1 trains again")
    assert run.end() == 0, run.output
    row = ours(run)
    assert row["workers"][1]["pid"] == spare.process.pid
    assert row["test_metrics"]["accuracy"] > 0.9
    assert [each["stage"] for each in row["restarts"]] == [1]
    (left,) = workers[1].temporary.iterdir()  # which the next worker there removes
    assert left.name.startswith("dni-worker-")
    assert stat.S_IMODE(left.stat().st_mode) == 0o700
    assert_all_left(workers[0], workers[2], workers[3], spare)
    run.assert_nothing_left()


def test_who_joins_after_a_death_takes_the_place(launch: Callable[..., Launch], join: Join) -> None:
    """As a container does that is started again."""
    run = launch(*REMOTE, "--epochs=100", "--layers=2")
    address = address_of(run)
    workers = [join(address, f"--stage={stage}") for stage in range(2)]
    run.wait_for("epoch +2 ")
    workers[0].process.kill()
    run.wait_for("stage 0 .* was lost")
    again = join(address, "--stage=0")
    run.wait_for("stage 0 trains again")
    assert run.end() == 0, run.output
    assert_all_left(workers[1], again)


def test_keys_admit_workers(launch: Callable[..., Launch], join: Join, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    made = subprocess.run(
        command_for("dni_async.launcher.cli", "keys", str(keys)), capture_output=True, check=False
    )
    assert made.returncode == 0, made.stderr
    for side, other in (("coordinator", "worker"), ("worker", "coordinator")):
        shutil.copytree(keys, tmp_path / side)  # nobody needs the other side's secret
        (tmp_path / side / f"{other}.secret").unlink()
    run = launch(*REMOTE, "--epochs=2", f"--keys={tmp_path / 'coordinator'}")
    address = address_of(run)
    assert RUN_ID not in run.output
    workers = [join(address, f"--keys={tmp_path / 'worker'}") for _ in range(4)]
    stranger = join(address, "--join-timeout-s=3")  # it has the password, but that is for nothing
    assert stranger.end() == 75
    assert run.end() == 0, run.output
    assert_all_left(*workers)


def test_torchrun_starts_workers(launch: Callable[..., Launch], tmp_path: Path) -> None:
    """Three for two stages; MASTER_PORT is of torchrun's own store, so --join says where to."""
    run = launch(*REMOTE, "--epochs=100000", "--layers=2")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3"),
        *("--no-python", *command_for("dni_async.workers.__main__", f"--join={address_of(run)}")),
    ]
    started = MarkedProcess(
        command,
        cwd=tmp_path,
        environment={"DNI_RUN_ID": RUN_ID},
    )
    try:
        # The third may come long after the others: the run goes on until it is there.
        for said in ("hosting stage 0", "hosting stage 1", "waiting for a stage"):
            started.wait_for(said)
        run.wait_for(r"epoch +3 ")
        run.interrupt()
        assert run.end() == 130, run.output
        assert started.end() == 0, started.output
    finally:
        started.abort()
    assert ours(run)["test_metrics"]["accuracy"] > 0.5
    for stage in range(2):
        assert re.search(rf"stage {stage} joined", run.output), run.output
    run.assert_nothing_left()


def test_workers_from_elsewhere_send_their_files_and_write_in_their_own_folders_alone(
    launch: Callable[..., Launch], join: Join
) -> None:
    """Also where they could see the run directory, which they are told of."""
    run = launch(
        *REMOTE, "--epochs=80", "--checkpoint-every=10", "--record-events", "--profile",
        "--torch-profiler=0", "--layers=2",
    )  # fmt: skip
    address = address_of(run)
    workers = [join(address, f"--stage={stage}") for stage in range(2)]
    run.wait_for("workers started")
    spare = join(address)
    run.wait_for("epoch +5 ")
    workers[1].process.kill()  # the spare is sent the shard that it goes on from
    run.wait_for("stage 1 trains again")
    assert run.end() == 0, run.output
    assert (run.run_dir / "model.safetensors").is_file()
    assert (run.run_dir / "trace.json").is_file()
    assert (run.run_dir / "profile" / "torch-stage-0.json").is_file()
    names = {path.name for path in (run.run_dir / "events").iterdir()}
    assert names == {"stage-0.jsonl", "stage-1.1.jsonl", "run.jsonl"}
    assert RUN_ID not in (run.run_dir / "events" / "run.jsonl").read_text()  # it is a password
    assert ours(run)["test_metrics"]["accuracy"] > 0.9
    assert_all_left(spare)
    assert workers[0].end() == 0, workers[0].output
    left = {path.name for path in workers[0].temporary.iterdir()}
    assert all(name.startswith("torchinductor_") for name in left), left  # some torches' profiler
    run.assert_nothing_left()
    resumed = launch("--resume", str(run.run_dir), "--epochs=82", "--workers=local")
    assert resumed.end() == 0, resumed.output
    assert "resumed from checkpoint" in resumed.output


def test_nobody_joins(launch: Callable[..., Launch], join: Join) -> None:
    run = launch(*REMOTE, "--join-timeout-s=5")
    worker = join(address_of(run), "--stage=2")
    assert run.end() == 75
    assert "stage 2 joined" in run.output
    assert re.search(r"Error: waited 5 s for Hello from stage 0, stage 1, stage 3", run.output)
    assert_all_left(worker)
    run.assert_nothing_left()


def test_nobody_listens(join: Join) -> None:
    worker = join("tcp://127.0.0.1:9", "--join-timeout-s=1")
    assert worker.end() == 75
    assert "nobody answered at tcp://127.0.0.1:9 for 1 s; is dni-launch listening" in worker.output


def test_an_interrupted_run_sends_its_workers_home(
    launch: Callable[..., Launch], join: Join
) -> None:
    run = launch(*REMOTE, "--epochs=100000")
    workers = [join(address_of(run)) for _ in range(4)]
    run.wait_for("epoch +2 ")
    spare = join(address_of(run))
    spare.wait_for("waiting for a stage")
    run.interrupt()
    assert run.end() == 130
    assert_all_left(*workers, spare)
    run.assert_nothing_left()


def test_workers_leave_when_the_coordinator_is_gone(
    launch: Callable[..., Launch], join: Join
) -> None:
    run = launch(*REMOTE, "--epochs=100000", "--layers=2", "--silent-after-s=2")
    workers = [join(address_of(run)) for _ in range(2)]
    run.wait_for("epoch +2 ")
    os.kill(run.process.pid, signal.SIGKILL)
    for worker in workers:
        assert worker.end() == 1
        assert "the coordinator is gone, or out of reach" in worker.output


def test_a_worker_that_is_interrupted_leaves_the_run(
    launch: Callable[..., Launch], join: Join
) -> None:
    run = launch(*REMOTE, "--epochs=100000", "--layers=2", "--max-restarts=0")
    workers = [join(address_of(run)) for _ in range(2)]
    run.wait_for("epoch +2 ")
    workers[0].interrupt()
    assert workers[0].end() == 130
    assert run.end() == 1
    assert re.search(r"Error: stage \d \(cpu, on .*, pid \d+\) was lost: its", run.output)
    assert_all_left(workers[1])


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--workers=remote"], "workers: remote ones must know where to join"),
        (["--listen=tcp://127.0.0.1:1"], "listen: is for --workers remote"),
        (["--workers=remote", "--listen=127.0.0.1:1"], "listen: must be tcp://HOST:PORT"),
        (["--workers=remote", "--listen=tcp://0.0.0.0:0"], "0.0.0.0 can be reached from other"),
        (["--workers=elsewhere"], "workers: each is local or remote, but one is 'elsewhere'"),
        (["--workers=remote", "--listen=tcp://192.0.2.9:0", "--keys=k"], "Cannot assign"),
    ],
)
def test_what_cannot_be_listened_on_is_refused(
    launch: Callable[..., Launch], flags: list[str], sentence: str
) -> None:
    run = launch(*flags)
    assert run.end() == 2
    assert sentence in run.output


def test_a_port_that_is_taken_is_refused(launch: Callable[..., Launch]) -> None:
    first = launch(*REMOTE)
    address = address_of(first)
    second = launch(*REMOTE, f"--listen={address}")
    assert second.end() == 2
    assert f"listen: {address} cannot be listened on: Address already in use; take" in second.output
    first.interrupt()
    assert first.end() == 130
