"""A run that listens on tcp and goes on for ever: its pace, memory and descriptors."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from dni_async.errors import DniError, WorkerDied
from dni_async.launcher.places.local import command_for
from dni_async.transport.keys import write_keys
from dni_async.transport.rings import make_key_pair

PATIENCE_S = 60.0
SETTLE_S = 10.0  # longer than a handshake may take


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a run is, and what processor time its processes take for it."""

    epochs_per_second: float
    cpu_seconds_per_epoch: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of a run: when, how many epochs have ended, processor time of its processes."""

    at_s: float
    num_epochs: int
    cpu_s: float

    def since(self, earlier: Mark) -> Pace:
        """The pace from then to here."""
        epochs = self.num_epochs - earlier.num_epochs
        cpu_s = (self.cpu_s - earlier.cpu_s) / epochs if epochs else float("inf")
        return Pace(epochs / (self.at_s - earlier.at_s), cpu_s)


@dataclass(slots=True)
class ListeningRun:
    """A run over loopback tcp that would go on for ever."""

    launcher: psutil.Process
    members: list[psutil.Process]
    folder: Path
    output: Path

    @property
    def num_epochs(self) -> int:
        """How many have ended. Raises WorkerDied when the run has."""
        if not self.launcher.is_running() or self.launcher.status() == psutil.STATUS_ZOMBIE:
            raise WorkerDied(f"the run has ended:\n{self.output.read_text()}", 1)
        try:
            return (self.folder / "metrics.jsonl").read_text().count('"train_loss"')
        except OSError:
            return 0

    @property
    def rss_bytes(self) -> list[int]:
        """Of each member."""
        return [member.memory_info().rss for member in self.members]

    @property
    def num_descriptors(self) -> list[int]:
        """Of each member."""
        return [member.num_fds() for member in self.members]

    def settled(self, before: list[int]) -> list[int]:
        """num_descriptors, once they are as few as before or SETTLE_S have passed."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            if all(a <= b for a, b in zip(self.num_descriptors, before, strict=True)):
                break
            time.sleep(0.1)
        return self.num_descriptors

    @property
    def address(self) -> str:
        """Where others join it; empty until it says that, or where nobody may."""
        found = re.search(r"--join (tcp://\S+)", self.output.read_text())
        return found[1] if found else ""

    def ports(self) -> list[int]:
        """Where strangers can knock."""
        return [
            connection.laddr.port
            for member in self.members
            for connection in member.net_connections(kind="tcp")
            if connection.status == psutil.CONN_LISTEN
        ]

    def mark(self) -> Mark:
        """Where it stands now."""
        times = [member.cpu_times() for member in self.members]
        cpu_s = sum(each.user + each.system for each in times)
        return Mark(time.perf_counter(), self.num_epochs, cpu_s)

    def watch(self, seconds: float) -> Pace:
        """Its pace over that time from now."""
        since = self.mark()
        time.sleep(seconds)
        return self.mark().since(since)


@contextmanager
def listening_run(*, is_joined: bool = False) -> Iterator[ListeningRun]:
    """A run that has trained for two epochs; it is ended after the block.

    is_joined: one of its four workers joins it, so that others may as well; else all are its own.
    """
    with tempfile.TemporaryDirectory(prefix="dni-hostile-") as name, ExitStack() as stack:
        folder, output = Path(name) / "run", Path(name) / "output"
        keys = Path(name) / "keys"
        flags = (
            "--epochs=1000000",
            "--no-baseline",
            "--width=64",
            "--norm=none",
            "--transport=tcp",
            *(_joined_flags(keys) if is_joined else ()),
        )
        with output.open("wb") as out:
            process = subprocess.Popen(
                command_for("dni_async.launcher.cli", *flags, "--run-dir", str(folder)),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            launcher = psutil.Process(process.pid)
            run = ListeningRun(launcher, [], folder, output)
            joined = [stack.enter_context(_worker(run, keys))] if is_joined else []
            wait_until(lambda: run.num_epochs >= 2, "the run did not begin")
            children = launcher.children(recursive=True)
            own = [each for each in children if each.name().startswith("dni-stage")]
            run.members = [launcher, *own, *joined]
            yield run
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _joined_flags(keys: Path) -> tuple[str, ...]:
    """New keys, and what makes the last of four workers one that joins with them."""
    write_keys(keys, coordinator=make_key_pair(), worker=make_key_pair())
    workers = "--workers=local,local,local,remote"
    return (workers, "--listen=tcp://127.0.0.1:0", f"--keys={keys}")


@contextmanager
def _worker(run: ListeningRun, keys: Path) -> Iterator[psutil.Process]:
    """The worker that joins; it ends with the run."""
    wait_until(lambda: run.address != "", "the run did not listen")
    command = command_for(
        "dni_async.workers.__main__", f"--join={run.address}", f"--keys={keys}", "--threads=1"
    )
    with (run.folder / "joined.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def wait_until(done: Callable[[], bool], complaint: str) -> None:
    """Raises DniError after a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            raise DniError(f"hostile: {complaint} within {PATIENCE_S:.0f} s")
        time.sleep(0.05)
