"""Strangers, crowds and false members against a run that listens on tcp."""

from __future__ import annotations

import json
import random
import statistics
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

import click
from rich.console import Console

from benchmarks.harness.facts import Observation, Spread
from benchmarks.harness.report import (
    benchmark_options,
    enter,
    make_console,
    print_facts,
    table,
    write,
)
from benchmarks.workloads.attacks.decoy import decoy
from benchmarks.workloads.attacks.false_member import false_members
from benchmarks.workloads.attacks.forgeries import judge_floods, judge_forgeries
from benchmarks.workloads.attacks.listening_run import ListeningRun, Pace, listening_run
from benchmarks.workloads.attacks.mutations import babble, decode_mutated
from benchmarks.workloads.attacks.strangers import KINDS, imposters, is_let_in, knocking, say
from dni_async.errors import DniError

NUM_OPEN = 200  # connections that are held open, or asked for, at once
NUM_IMPOSTERS = 20
MOST_GROWTH = 64 * 2**20  # bytes of one process, from after its start to the end
MOST_GROWTH_BY_MEMBERS = 10 * 2**20
MOST_SLOWER = {"strangers": 0.10, "crowd": 0.10, "members": 0.05}  # of the run's rate before
WATCHED_S = 8.0  # at a time
LEAST_S = 1.0  # beside them, however few they are
ROUNDS = 5  # with them, each after one without


@click.command(name="hostile")
@benchmark_options
@click.option(
    "--by",
    type=click.Choice(["strangers", "crowd", "members"]),
    default="strangers",
    show_default=True,
    help="Who: strangers at a run whose workers are all its own; strangers at one that others may "
    "join; members that say what is not theirs to say.",
)
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    help="Mutated frames, or messages.  [default: 1,000,000]",
)
@click.option(
    "--connections", type=click.IntRange(min=1), help="Strange connections.  [default: 50,000]"
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
    by: str,
    frames: int | None,
    connections: int | None,
    per_second: float | None,
    seed: int,
) -> None:
    """What do others cost a run? Its rate, memory and descriptors without and beside them."""
    num_frames = frames or (20_000 if quick else 1_000_000)
    num_connections = connections or (300 if quick else 50_000)
    console = make_console()
    observation = Observation()
    rows = []
    for number in range(repeats or 1):
        chance = random.Random(seed + number)
        siege = Siege(num_connections, num_frames, 1 / per_second if per_second else 0.0)
        watched_s = 2.0 if quick else WATCHED_S
        if by == "members":
            judged = {**judge_forgeries(num_frames), **judge_floods(num_frames)}
            with listening_run(is_joined=True) as run:
                rows.append({**judged, **flood(run, watched_s=watched_s)})
        else:
            decoded = decode_mutated(num_frames, chance)
            with listening_run(is_joined=by == "crowd") as run:
                rows.append({**decoded, **besiege(run, siege, chance, watched_s=watched_s)})
        settings = {
            "by": by,
            "frames": num_frames,
            "connections": num_connections,
            "per_second": per_second,
            "seed": seed,
            "repeats": number + 1,
            "quick": quick,
        }
        write(json_path, "hostile", observation.facts(), settings, {"rows": rows})
    facts = observation.facts()
    for row in rows:
        print_row(console, row, by=by, may_compare=facts["not_comparable"] is None)
    print_facts(console, facts)
    for row in rows:
        check(row)


def print_row(console: Console, row: Mapping[str, Any], *, by: str, may_compare: bool) -> None:
    """What one run came to beside them."""
    made = table(f"a run and its {by}", ["what", "figure"])
    for name, value in row.items():
        if not isinstance(value, dict):
            made.add_row(name.replace("_", " "), f"{value:,}" if value is not None else "-")
    console.print(made)
    for sentence in verdicts(row, MOST_SLOWER[by]) if may_compare else ():
        console.print(sentence, highlight=False)


@dataclass(slots=True)
class Siege:
    """Strangers at a run's ports, in ROUNDS parts. interval_s: from one to the next, at least."""

    num_connections: int
    num_frames: int
    interval_s: float
    seconds: float = 0.0
    let_in: int = 0
    most_growth: int = 0  # bytes

    @property
    def frames_each(self) -> int:
        """That one connection sends."""
        return self.num_frames // self.num_connections

    def lay(self, run: ListeningRun, chance: random.Random, ports: Sequence[int]) -> list[socket]:
        """Send them to these ports; those that are open still."""
        rss = run.rss_bytes
        open_now: deque[socket] = deque()
        began = time.perf_counter()
        for number in range(self.num_connections // ROUNDS):
            time.sleep(max(0.0, began + number * self.interval_s - time.perf_counter()))
            stranger = knocking(ports[number % len(ports)])
            if is_let_in(stranger):
                self.let_in += 1
                stranger.settimeout(1.0)
                say(stranger, KINDS[number % len(KINDS)])
                babble(stranger, self.frames_each, chance)
            open_now.append(stranger)
            if len(open_now) > NUM_OPEN:
                open_now.popleft().close()
            if number % 100 == 0:
                self.most_growth = max(self.most_growth, growth(rss, run.rss_bytes))
        self.seconds += time.perf_counter() - began
        return list(open_now)


class Rounds:
    """A run's pace in turn, by who is there: nobody, they elsewhere, they at the run."""

    def __init__(self, run: ListeningRun, watched_s: float) -> None:
        self.run = run
        self.watched_s = watched_s
        self.paces: dict[str, list[Pace]] = {}

    def __iter__(self) -> Iterator[None]:
        """For each round, in which the paces beside them are to be added."""
        for _ in range(ROUNDS):
            self.add("without", self.run.watch(self.watched_s))
            yield

    def add(self, who: str, pace: Pace) -> None:
        """One more."""
        self.paces.setdefault(who, []).append(pace)

    def told(self) -> dict[str, Any]:
        """As a row has it: medians, and how each round with them was to what it is compared with.

        That is the pace while they were elsewhere, with the same work for the machine.
        """
        figures: dict[str, Any] = {}
        if not all(pace.epochs_per_second for paces in self.paces.values() for pace in paces):
            raise DniError("hostile: the run stands still")
        for name in ("epochs_per_second", "cpu_seconds_per_epoch"):
            values = {
                who: [getattr(pace, name) for pace in paces] for who, paces in self.paces.items()
            }
            for who, each in values.items():
                figures[f"{name}_{who}"] = round(statistics.median(each), 4)
            pairs = zip(values["beside"], values["elsewhere"], strict=True)
            shares = [beside / elsewhere for beside, elsewhere in pairs]
            figures[f"{name}_share"] = Spread.of(shares).to_dict()
        return figures


def besiege(
    run: ListeningRun, siege: Siege, chance: random.Random, *, watched_s: float
) -> dict[str, Any]:
    """What the strangers cost the run, beside as many at a port where nobody listens."""
    rss, descriptors, rounds = run.rss_bytes, run.num_descriptors, Rounds(run, watched_s)
    with socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        places = {"elsewhere": [nobody.getsockname()[1]], "beside": run.ports()}
        for _ in rounds:
            for who, ports in places.items():
                start = run.mark()
                with imposters(f"tcp://127.0.0.1:{ports[0]}", NUM_IMPOSTERS):
                    open_now = siege.lay(run, chance, ports)
                    run.watch(max(0.0, start.at_s + LEAST_S - time.perf_counter()))
                    rounds.add(who, run.mark().since(start))
                for stranger in open_now:
                    stranger.close()
                run.settled(descriptors)
    left_over = max(b - a for a, b in zip(descriptors, run.settled(descriptors), strict=True))
    return {
        "connections": siege.num_connections,
        "let_in": siege.let_in,
        "frames_sent": siege.frames_each * siege.let_in,
        "siege_seconds": round(siege.seconds / len(places), 1),
        **rounds.told(),
        "most_growth_bytes": siege.most_growth,
        "growth_bytes_after": growth(rss, run.rss_bytes),
        "descriptors_left_over": left_over,
        "lines_about_strangers": told(run),
    }


def flood(run: ListeningRun, *, watched_s: float) -> dict[str, Any]:
    """What members cost the run that say all they can for watched_s at a time, beside as many that
    say it to somebody else.
    """
    rss, most, rounds = run.rss_bytes, 0, Rounds(run, watched_s)
    offered = {"elsewhere": 0, "beside": 0}
    keys = run.folder.with_name("keys")
    with decoy(keys) as elsewhere:
        places = {"elsewhere": elsewhere, "beside": run.address}
        for _ in rounds:
            for who, address in places.items():
                with false_members(address, keys) as members:
                    start = run.mark()
                    for _ in range(4):
                        run.watch(watched_s / 4)
                        most = max(most, growth(rss, run.rss_bytes))
                    rounds.add(who, run.mark().since(start))
                offered[who] += members.offered
    return {
        **{f"offered_{who}": count for who, count in offered.items()},
        **rounds.told(),
        "most_growth_bytes": most,
        "launcher_growth_bytes": run.rss_bytes[0] - rss[0],
        "growth_bytes_after": growth(rss, run.rss_bytes),
        "lines_about_members": told(run),
        "epochs_with_forged_figures": forged(run),
    }


def forged(run: ListeningRun) -> int:
    """Epochs that were entered with a loss that no run has, as the false members tell it."""
    lines = map(json.loads, (run.folder / "metrics.jsonl").read_text().splitlines())
    return sum(line.get("train_loss") == 0.0 for line in lines)


def growth(before: list[int], after: list[int]) -> int:
    """Of the member that has grown most."""
    return max(b - a for a, b in zip(before, after, strict=True))


def told(run: ListeningRun) -> int:
    """Lines about refused connections that the user and the logs got."""
    logs = [run.output, *(run.folder / "logs").glob("worker-*.log")]
    return sum(log.read_text().count("was refused") for log in logs)


def verdicts(row: Mapping[str, Any], most: float) -> list[str]:
    """How much slower the run was, and how much more processor time an epoch took it."""
    rate, cpu = (row[f"{each}_share"] for each in ("epochs_per_second", "cpu_seconds_per_epoch"))
    slower = [1 - rate[at] for at in ("median", "max", "min")]
    dearer = [cpu[at] - 1 for at in ("median", "min", "max")]
    return [
        f"{what} {share:+.1%} ({least:+.1%} to {highest:+.1%}), at most {most:.0%}: "
        + ("met" if share <= most else "MISSED")
        for what, (share, least, highest) in (
            ("slower beside what the others compute:", slower),
            ("more processor time an epoch:", dearer),
        )
    ]


def check(row: Mapping[str, Any]) -> None:
    """Raises DniError where they cost more than may be, or anything was believed."""
    for name in ("descriptors_left_over", "forged_accepted", "epochs_with_forged_figures"):
        if row.get(name, 0) > 0:
            raise DniError(f"hostile: {name} is {row[name]}, 0 is right")
    limits = dict.fromkeys(("most_growth_bytes", "growth_bytes_after"), MOST_GROWTH)
    limits["decode_growth_bytes"] = MOST_GROWTH
    for name in ("forged_growth_bytes", "flood_growth_bytes", "launcher_growth_bytes"):
        limits[name] = MOST_GROWTH_BY_MEMBERS
    for name, most in limits.items():
        if row.get(name, 0) > most:
            raise DniError(f"hostile: {name} is {row[name]:,}, at most {most:,} is right")


if __name__ == "__main__":
    enter(main)
