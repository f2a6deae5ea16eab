"""Mutated frames and strangers by the thousand against a run that listens on tcp."""

from __future__ import annotations

import random
import signal
import struct
import subprocess
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

import click
import psutil

from benchmarks.harness.facts import Observation
from benchmarks.harness.report import (
    benchmark_options,
    enter,
    make_console,
    print_facts,
    table,
    write,
)
from benchmarks.workloads.strangers import KINDS, greeting, imposters, raw_stranger
from dni_async.errors import DniError, WireError, WorkerDied
from dni_async.launcher.places.local import command_for
from dni_async.wire.codec import decode, encode
from dni_async.wire.messages import (
    PROTOCOL,
    Activation,
    Credit,
    EpochLoss,
    Hello,
    Message,
    TensorMeta,
)

PATIENCE_S = 60.0
SETTLE_S = 10.0  # longer than a handshake may take
NUM_OPEN = 200  # connections that are held open at once
NUM_IMPOSTERS = 20
MOST_GROWTH = 64 * 2**20  # bytes of one process, from after its start to the end
MOST_SLOWER = 0.05  # of the run's rate before
WATCHED_S = 30.0  # before and after

VALID: list[Message] = [
    Hello(PROTOCOL, "0123456789abcdef", 0, 1, "host", "tcp://127.0.0.1:1"),
    Credit("0123456789abcdef", (1, 2, 3)),
    Activation("run", 7, 3, "train", True, (TensorMeta("float32", (2, 3)),)),
    EpochLoss("run", 3, 0.5, 60_000),
]


@click.command(name="hostile")
@benchmark_options
@click.option("--frames", type=click.IntRange(min=1), help="Mutated frames.  [default: 1,000,000]")
@click.option(
    "--connections", type=click.IntRange(min=1), help="Strange connections.  [default: 10,000]"
)
@click.option(
    "--per-second",
    type=click.FloatRange(min=0, min_open=True),
    help="Connections made each second.  [default: as many as can be]",
)
@click.option("--seed", default=0, show_default=True, help="Seeds what is mutated.")
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    frames: int | None,
    connections: int | None,
    per_second: float | None,
    seed: int,
) -> None:
    """What do strangers cost a run? Its rate, memory and descriptors before and after them."""
    num_frames = frames or (20_000 if quick else 1_000_000)
    num_connections = connections or (300 if quick else 10_000)
    console = make_console()
    observation = Observation()
    rows = []
    for number in range(repeats or 1):
        chance = random.Random(seed + number)
        decoded = decode_mutated(num_frames, chance)
        with listening_run() as run:
            seconds = 5.0 if quick else WATCHED_S
            interval_s = 1 / per_second if per_second else 0.0
            siege = besiege(
                run, num_connections, num_frames, chance, seconds=seconds, interval_s=interval_s
            )
            rows.append({**decoded, **siege})
        settings = {
            "frames": num_frames,
            "connections": num_connections,
            "per_second": per_second,
            "seed": seed,
            "repeats": number + 1,
            "quick": quick,
        }
        write(json_path, "hostile", observation.facts(), settings, {"rows": rows})
    for row in rows:
        made = table("a run and its strangers", ["what", "figure"])
        for name, value in row.items():
            made.add_row(name.replace("_", " "), f"{value:,}" if value is not None else "-")
        console.print(made)
        for sentence in verdicts(row):
            console.print(sentence, highlight=False)
    print_facts(console, observation.facts())
    for row in rows:
        check(row)


def mutated(frame: bytes, chance: random.Random) -> bytes:
    """frame with one to four of its bytes changed, left out or doubled."""
    bytes_now = bytearray(frame)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(bytes_now) or 1)
        match chance.randrange(4):
            case 0:
                bytes_now[at : at + 1] = chance.randbytes(1)
            case 1:
                del bytes_now[at : at + chance.randint(1, 8)]
            case 2:
                bytes_now[at:at] = bytes_now[: chance.randint(1, 32)]
            case _:
                bytes_now[at : at + 1] = bytes([0xDD, 0xFF, 0xFF, 0xFF, 0xFF])  # a long array
    return bytes(bytes_now)


def decode_mutated(count: int, chance: random.Random) -> dict[str, Any]:
    """Decode mutated headers: each is a message or a WireError, and nothing else is raised."""
    valid = [bytes(encode(message)[0]) for message in VALID]
    process = psutil.Process()
    outcomes: Counter[str] = Counter()
    before = process.memory_info().rss
    began = time.perf_counter()
    for number in range(count):
        try:
            decode([mutated(valid[number % len(valid)], chance)])
            outcomes["messages"] += 1
        except WireError:
            outcomes["refused"] += 1
    return {
        "decoded_frames": count,
        "decoded_messages": outcomes["messages"],
        "decoded_refused": outcomes["refused"],
        "decode_seconds": round(time.perf_counter() - began, 2),
        "decode_growth_bytes": process.memory_info().rss - before,
    }


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
def listening_run() -> Iterator[ListeningRun]:
    """A run that has trained for two epochs; it is ended after the block."""
    with tempfile.TemporaryDirectory(prefix="dni-hostile-") as name:
        folder, output = Path(name) / "run", Path(name) / "output"
        flags = ("--epochs=1000000", "--no-baseline", "--width=64", "--transport=tcp")
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
            wait_until(lambda: run.num_epochs >= 2, "the run did not begin")
            children = launcher.children(recursive=True)
            run.members = [launcher, *(c for c in children if c.name().startswith("dni-stage"))]
            yield run
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until(done: Callable[[], bool], complaint: str) -> None:
    """Raises DniError after a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            raise DniError(f"hostile: {complaint} within {PATIENCE_S:.0f} s")
        time.sleep(0.05)


def besiege(
    run: ListeningRun,
    num_connections: int,
    num_frames: int,
    chance: random.Random,
    *,
    seconds: float,
    interval_s: float = 0.0,
) -> dict[str, Any]:
    """Send strangers to every port of the run; what they cost it.

    seconds: for which it is watched before and after. interval_s: from one stranger to the next,
    at least.
    """
    ports, before = run.ports(), run.watch(seconds)
    rss, descriptors = run.rss_bytes, run.num_descriptors
    most_growth, start = 0, run.mark()
    open_now: deque[socket] = deque()
    began = time.perf_counter()
    with imposters(f"tcp://127.0.0.1:{ports[0]}", NUM_IMPOSTERS):
        for number in range(num_connections):
            time.sleep(max(0.0, began + number * interval_s - time.perf_counter()))
            stranger = knock(ports[number % len(ports)], number)
            babble(stranger, num_frames // num_connections, chance)
            open_now.append(stranger)
            if len(open_now) > NUM_OPEN:
                open_now.popleft().close()
            if number % 100 == 0:
                most_growth = max(most_growth, growth(rss, run.rss_bytes))
        siege_s = time.perf_counter() - began
        during = run.mark().since(start)
    for stranger in open_now:
        stranger.close()
    left_over = max(b - a for a, b in zip(descriptors, run.settled(descriptors), strict=True))
    after = run.watch(seconds)
    return {
        "connections": num_connections,
        "frames_sent": num_frames // num_connections * num_connections,
        "siege_seconds": round(siege_s, 1),
        "epochs_per_second_before": round(before.epochs_per_second, 2),
        "epochs_per_second_during": round(during.epochs_per_second, 2),
        "epochs_per_second_after": round(after.epochs_per_second, 2),
        "cpu_seconds_per_epoch_before": round(before.cpu_seconds_per_epoch, 4),
        "cpu_seconds_per_epoch_during": round(during.cpu_seconds_per_epoch, 4),
        "cpu_seconds_per_epoch_after": round(after.cpu_seconds_per_epoch, 4),
        "most_growth_bytes": most_growth,
        "growth_bytes_after": growth(rss, run.rss_bytes),
        "descriptors_left_over": left_over,
        "lines_about_strangers": told(run),
    }


def knock(port: int, number: int) -> socket:
    """A connection of one kind or another."""
    stranger = raw_stranger(port, KINDS[number % len(KINDS)])
    stranger.settimeout(1.0)
    return stranger


def babble(stranger: socket, count: int, chance: random.Random) -> None:
    """Send count mutated frames, as ZeroMQ frames them, until the other end hangs up."""
    valid = [bytes(encode(message)[0]) for message in VALID]
    said = [greeting(b"NULL") if chance.random() < 0.5 else greeting(b"PLAIN")]
    for _ in range(count):
        body = mutated(chance.choice(valid), chance)
        said.append(struct.pack(">BQ", chance.choice((2, 3, 6)), len(body)) + body)
    try:
        stranger.sendall(b"".join(said))
    except OSError:  # it was cut off, as it should be
        return


def growth(before: list[int], after: list[int]) -> int:
    """Of the member that has grown most."""
    return max(b - a for a, b in zip(before, after, strict=True))


def told(run: ListeningRun) -> int:
    """Lines about refused connections that the user and the logs got."""
    logs = [run.output, *(run.folder / "logs").glob("worker-*.log")]
    return sum(log.read_text().count("was refused") for log in logs)


def verdicts(row: Mapping[str, Any]) -> list[str]:
    """How much slower the run was, and how much more processor time an epoch took it."""
    rate, cpu = (
        row[f"{name}_during"] / row[f"{name}_before"]
        for name in ("epochs_per_second", "cpu_seconds_per_epoch")
    )
    return [
        f"{what} {share:+.1%}, at most {MOST_SLOWER:.0%}: "
        + ("met" if share <= MOST_SLOWER else "MISSED")
        for what, share in (
            ("slower beside what the strangers compute:", 1 - rate),
            ("more processor time an epoch:", cpu - 1),
        )
    ]


def check(row: Mapping[str, Any]) -> None:
    """Raises DniError where a stranger cost more than may be."""
    if row["descriptors_left_over"] > 0:
        raise DniError(f"hostile: {row['descriptors_left_over']} descriptors were not given back")
    for name in ("most_growth_bytes", "growth_bytes_after", "decode_growth_bytes"):
        if row[name] > MOST_GROWTH:
            raise DniError(f"hostile: {name} is {row[name]:,}, at most {MOST_GROWTH:,} is right")
    if row["epochs_per_second_after"] <= 0:
        raise DniError("hostile: the run stands still")


if __name__ == "__main__":
    enter(main)
