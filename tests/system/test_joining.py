"""Workers that join from elsewhere: here from this host, by the means that any host has."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.workloads.attacks.forgeries import all_kinds
from dni_async.launcher.places.local import command_for
from dni_async.transport.rings import invitation_of, make_rings, read_invitation
from dni_async.transport.sockets import open_sockets
from dni_async.wire.messages import PROTOCOL, Heartbeat
from dni_async.wire.messages import Join as Offer
from tests.beginning import Beginning
from tests.marked_process import MarkedProcess
from tests.system.conftest import Launch
from tests.transport.test_gate import FalseListener

pytestmark = pytest.mark.system
slow = pytest.mark.slow
REMOTE = ("--workers=remote", "--listen=tcp://127.0.0.1:0", "--no-baseline", "--width=64")
Join = Callable[..., MarkedProcess]
PATIENCE_MS = 10_000


@pytest.fixture
def join(tmp_path: Path) -> Iterator[Join]:
    """Start workers that join the run of a launch; whatever the test does, they are gone after."""
    started: list[MarkedProcess] = []

    def start(asked: Asked, *arguments: str, beginning: Beginning | None = None) -> MarkedProcess:
        command = command_for("dni_async.workers.__main__", f"--join={asked.address}", *arguments)
        worker = MarkedProcess(
            command, cwd=tmp_path, environment=asked.environment, beginning=beginning
        )
        started.append(worker)
        return worker

    yield start
    for each in started:
        each.abort()


@dataclass(frozen=True)
class Asked:
    """What a run has asked for: whom to join, and by which invitation, if by one."""

    address: str
    invitation: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Of a worker."""
        return {"DNI_INVITATION": self.invitation} if self.invitation else {}


def asked_by(run: Launch) -> Asked:
    """Where the run waits for its workers."""
    found = run.wait_for(r"(?:DNI_INVITATION=(\S+) )?dni-worker --join (tcp://\S+)")
    return Asked(found.group(2), found.group(1) or "")


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
    workers = [join(asked_by(run)) for _ in range(4)]
    assert run.end() == 0, run.output
    row = ours(run)
    assert {each["pid"] for each in row["workers"]} == {each.process.pid for each in workers}
    assert row["test_metrics"]["accuracy"] > 0.6
    assert row["workers"][0]["shared_bytes"] > 0  # they are on one host
    assert_all_left(*workers)
    run.assert_nothing_left()


def test_local_and_remote_workers_mix(launch: Callable[..., Launch], join: Join) -> None:
    run = launch(*REMOTE, "--epochs=10", "--workers=local,remote")
    workers = [join(asked_by(run), "--stage=3"), join(asked_by(run), "--stage=2")]
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
    workers = [join(asked_by(run), "--threads=1") for _ in range(4)]
    assert run.end() == 0, run.output
    decoupled, alone, *_ = run.report()["runs"]
    told = [(each["train_loss"], each["test_loss"]) for each in decoupled["epochs"]]
    assert told == [(each["train_loss"], each["test_loss"]) for each in alone["epochs"]]
    assert_all_left(*workers)


def test_a_spare_takes_the_place_of_the_dead(launch: Callable[..., Launch], join: Join) -> None:
    run = launch(*REMOTE, "--epochs=60", "--checkpoint-every=10")
    address = asked_by(run)
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
    address = asked_by(run)
    workers = [join(address, f"--stage={stage}") for stage in range(2)]
    run.wait_for("epoch +2 ")
    workers[0].process.kill()
    run.wait_for("stage 0 .* was lost")
    again = join(address, "--stage=0")
    run.wait_for("stage 0 trains again")
    assert run.end() == 0, run.output
    assert_all_left(workers[1], again)


def invited(keys: Path) -> str:
    """What ``dni-launch keys DIR --invitation`` prints."""
    command = command_for("dni_async.launcher.cli", "keys", str(keys), "--invitation")
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


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
    asked = asked_by(run)
    assert not asked.invitation
    line = (run.run_dir / "invitation").read_text()
    assert line == f"dni-worker --join {asked.address} --keys {tmp_path / 'coordinator'}\n"
    told = invited(keys)
    workers = [join(asked, f"--keys={tmp_path / 'worker'}") for _ in range(3)]
    workers.append(join(replace(asked, invitation=told)))  # to where there is no copy
    other = invitation_of(make_rings()[1])
    stranger = join(replace(asked, invitation=other), "--join-timeout-s=3")
    assert stranger.end() == 75
    assert run.end() == 0, run.output
    assert_all_left(*workers)


def test_torchrun_starts_workers(launch: Callable[..., Launch], tmp_path: Path) -> None:
    """Three for two stages; MASTER_PORT is of torchrun's own store, so --join says where to."""
    run = launch(*REMOTE, "--epochs=100000", "--layers=2")
    asked = asked_by(run)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3"),
        *("--no-python", *command_for("dni_async.workers.__main__", f"--join={asked.address}")),
    ]
    started = MarkedProcess(command, cwd=tmp_path, environment=asked.environment)
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
    asked = asked_by(run)
    workers = [join(asked, f"--stage={stage}") for stage in range(2)]
    run.wait_for("workers started")
    spare = join(asked)
    run.wait_for("epoch +5 ")
    workers[1].process.kill()  # the spare is sent the shard that it goes on from
    run.wait_for("stage 1 trains again")
    assert run.end() == 0, run.output
    assert (run.run_dir / "model.safetensors").is_file()
    assert (run.run_dir / "trace.json").is_file()
    assert (run.run_dir / "profile" / "torch-stage-0.json").is_file()
    names = {path.name for path in (run.run_dir / "events").iterdir()}
    assert names == {"stage-0.jsonl", "stage-1.1.jsonl", "run.jsonl"}
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
    worker = join(asked_by(run), "--stage=2")
    assert run.end() == 75
    assert "stage 2 joined" in run.output
    assert re.search(r"Error: waited 5 s for Hello from stage 0, stage 1, stage 3", run.output)
    assert_all_left(worker)
    run.assert_nothing_left()


def test_nobody_listens(join: Join) -> None:
    word = invitation_of(make_rings()[1])
    worker = join(Asked("tcp://127.0.0.1:9", word), "--join-timeout-s=1")
    assert worker.end() == 75
    assert "nobody answered at tcp://127.0.0.1:9 for 1 s; is dni-launch listening" in worker.output


@slow  # connects anew every 5 s; tests/transport/test_gate.py has the first half
def test_who_listens_where_a_run_was_asked_for_gets_nothing(
    launch: Callable[..., Launch], join: Join, tmp_path: Path
) -> None:
    """And when the launcher has its port after all, the worker joins it."""
    keys = tmp_path / "keys"
    word = invited(keys)  # makes them
    with FalseListener("PLAIN") as false:
        asked = Asked(false.endpoint, word)
        workers = [join(asked) for _ in range(2)]
        false.wait_for_failure()
        assert false.shown == []
        assert not false.router.poll(0)
    run = launch(*REMOTE, "--layers=2", f"--listen={asked.address}", f"--keys={keys}")
    assert run.end() == 0, run.output
    assert_all_left(*workers)


def names_of_sockets(pids: Iterable[int]) -> set[str]:
    """The unix sockets that these processes hold, by path or @NAME; those without either apart."""
    processes = [psutil.Process(pid) for pid in pids]
    processes += [child for each in processes for child in each.children(recursive=True)]
    found = [held.laddr for each in processes for held in each.net_connections(kind="unix")]
    return {str(name) for name in found if name}


def test_every_unix_socket_lies_in_a_private_folder_or_has_a_name_that_nobody_can_foretell(
    launch: Callable[..., Launch], join: Join
) -> None:
    run = launch(*REMOTE, "--epochs=100000", "--width=256", "--workers=local,local,remote,remote")
    workers = [join(asked_by(run)) for _ in range(2)]
    run.wait_for("epoch +2 ")
    names = names_of_sockets([run.process.pid, *(each.process.pid for each in workers)])
    loose = {name for name in names if name.startswith("@")}
    # For the link above each stage but the head: ZeroMQ's, and the memory's, new for each of them.
    assert len(loose) == 2 * 3
    assert all(re.fullmatch(r"@dni-[0-9a-f]{32}", name) for name in loose), loose
    for name in names - loose:
        folder = Path(name).parent.stat()
        assert (folder.st_uid, stat.S_IMODE(folder.st_mode)) == (os.geteuid(), 0o700), name
    run.interrupt()
    assert run.end() == 130
    assert_all_left(*workers)


def test_an_interrupted_run_sends_its_workers_home(
    launch: Callable[..., Launch], join: Join
) -> None:
    run = launch(*REMOTE, "--epochs=100000")
    workers = [join(asked_by(run)) for _ in range(4)]
    run.wait_for("epoch +2 ")
    spare = join(asked_by(run))
    spare.wait_for("waiting for a stage")
    run.interrupt()
    assert run.end() == 130
    assert_all_left(*workers, spare)
    run.assert_nothing_left()


def test_workers_leave_when_the_coordinator_is_gone(
    launch: Callable[..., Launch], join: Join
) -> None:
    run = launch(*REMOTE, "--epochs=100000", "--layers=2", "--silent-after-s=2")
    workers = [join(asked_by(run)) for _ in range(2)]
    run.wait_for("epoch +2 ")
    os.kill(run.process.pid, signal.SIGKILL)
    for worker in workers:
        assert worker.end() == 1
        assert "the coordinator is gone, or out of reach" in worker.output


def test_a_worker_that_is_interrupted_leaves_the_run(
    launch: Callable[..., Launch], join: Join
) -> None:
    run = launch(*REMOTE, "--epochs=100000", "--layers=2", "--max-restarts=0")
    workers = [join(asked_by(run)) for _ in range(2)]
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


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("DNI_RUN_ID", "DNI_RUN_ID in the environment is no password any more"),
        ("DNI_INVITATION", "DNI_INVITATION in the environment is for workers; the launcher takes"),
    ],
)
def test_what_others_are_told_is_not_for_the_launcher_to_be_told(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch, variable: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, "a-word-of-both-sides")
    run = launch(*REMOTE)
    assert run.end() == 2
    assert sentence in run.output
    assert not run.run_dir.exists()


def test_a_port_that_is_taken_is_refused(launch: Callable[..., Launch]) -> None:
    first = launch(*REMOTE)
    address = asked_by(first).address
    second = launch(*REMOTE, f"--listen={address}")
    assert second.end() == 2
    assert f"listen: {address} cannot be listened on: Address already in use; take" in second.output
    first.interrupt()
    assert first.end() == 130


def test_a_worker_that_prints_nowhere_trains_and_a_hangup_ends_it_unless_ignored(
    launch: Callable[..., Launch], join: Join
) -> None:
    """As in a terminal that is closed, under nohup or not."""
    run = launch(*REMOTE, "--layers=2", "--epochs=100000", "--max-restarts=0")
    nowhere = Beginning(ignored=(signal.SIGHUP,), stdout="/dev/full", stderr="/dev/full")
    kept = join(asked_by(run), "--stage=0", beginning=nowhere)
    lost = join(asked_by(run), "--stage=1")
    run.wait_for("epoch +2 ")
    for worker in (kept, lost):
        worker.interrupt(signal.SIGHUP)
    assert lost.end() == 129, lost.output
    assert run.end() != 0
    assert kept.end() == 0
    assert "Traceback" not in lost.output
    for worker in (kept, lost):
        assert list(worker.temporary.iterdir()) == []
    run.assert_nothing_left()


def test_a_member_that_hosts_no_stage_forges_nothing(
    launch: Callable[..., Launch], join: Join
) -> None:
    """Its words were the run's once: 10.83% became 100.00%, and the run ended at its target."""
    run = launch(*REMOTE, "--epochs=100000", "--layers=2", "--target=0.999", "--early-stop")
    asked = asked_by(run)
    workers = [join(asked) for _ in range(2)]
    run.wait_for("epoch +2 ")
    with open_sockets(read_invitation(asked.invitation)) as sockets:
        false = sockets.control_client(asked.address, b"join-false")
        false.send(
            Offer(PROTOCOL, 7, "host", "machine", 8, 0, "cpu", 0, is_for_any=True, token="t")
        )
        run_id = ""
        while not run_id:
            false.socket.poll(PATIENCE_MS)
            heard = false.receive()
            run_id = heard.run_id if isinstance(heard, Heartbeat) else ""
        said = int(re.findall(r"epoch +(\d+)", run.output)[-1])
        for epoch in range(said, said + 200):
            for stage in range(2):
                for message in all_kinds(run_id, stage, epoch):
                    false.send(message)
        run.wait_for("members that host no stage: Evaluated was refused: it is a spare")
        run.wait_for(f"epoch +{said + 50} ")
        sockets.close(false)
    run.interrupt()
    assert run.end() == 130, run.output
    epochs = ours(run)["epochs"]
    assert max(each["test_metrics"]["accuracy"] for each in epochs) < 0.999
    assert min(each["train_loss"] for each in epochs) > 0.0
    assert re.search(r"refused were of members that host no stage [\d,]+ \w+", run.output)
    assert_all_left(*workers)
