"""Many scenarios on several processes, and what they came to."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.harness.facts import machine
from dni_async.system.machine import die_with_parent
from tests.simulation.moments import A_RUN, moments
from tests.simulation.outside import one_folder_for_all
from tests.simulation.run import Outcome, simulate
from tests.simulation.scenario import Scenario, draw
from tests.simulation.shrinking import shrunk
from tests.simulation.world import Violation

__all__ = ["Sums", "merge", "of_moments", "of_seeds"]

CHUNK = 50
MOST_SHOWN = 20  # failures that are shrunk and kept
GARBAGE = 10  # runs whose remains are looked for together


@dataclass
class Sums:
    """Of all that was simulated. failures: kind, what was seen, the scenario; counts: by kind."""

    scenarios: int = 0
    totals: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, Scenario]] = field(default_factory=list)

    def add(self, other: Sums) -> None:
        """What another process has done."""
        self.scenarios += other.scenarios
        self.totals += other.totals
        self.counts += other.counts
        self.failures += other.failures[: max(0, MOST_SHOWN - len(self.failures))]

    def enter(self, outcome: Outcome) -> None:
        """What one came to."""
        self.totals["launches"] += outcome.launches
        self.totals["workers killed"] += outcome.deaths
        self.totals["workers replaced"] += outcome.replaced
        self.totals["runs that were resumed"] += outcome.launches > 1
        self.totals["runs that ended early"] += outcome.is_early
        self.totals["batches lost with a death"] += outcome.lost
        self.totals["moves"] += outcome.moves
        self.totals["epochs missing"] += len(outcome.missing)

    def to_dict(self) -> dict[str, Any]:
        """As it is kept; failures as small as they could be made."""
        kinds: dict[str, Any] = {}
        for kind, text, scenario in self.failures:
            if kind not in kinds:
                small = shrunk(scenario).to_json()
                kinds[kind] = {"seed": scenario.seed, "seen": text[:500], "smallest": small}
        return {
            "scenarios": self.scenarios,
            "totals": dict(self.totals),
            "failures": sum(self.counts.values()),
            "by_kind": dict(self.counts),
            "shown": kinds,
        }


def of_seeds(first: int, count: int, processes: int, out: Path | None) -> Sums:
    """The scenarios of that many seeds."""
    starts = range(first, first + count, CHUNK)
    chunks = [range(start, min(start + CHUNK, first + count)) for start in starts]
    return _run(_seeds, chunks, processes, out, {"first_seed": first, "seeds": count})


def of_moments(role: str, count: int, first: int, processes: int, out: Path | None) -> Sums:
    """That many moments at which one of that role dies."""
    step = max(1, A_RUN // count)  # of few, all are of one run
    chunks = [(role, seed, step) for seed in range(first, first + count)]
    asked = {"role": role, "first_seed": first, "moments": count}
    return _run(_moments, chunks, processes, out, asked, most=count)


def merge(parts: Sequence[Path], out: Path) -> None:
    """Have what was kept of several long runs in one file: of seeds, and of each role's moments.

    Raises ValueError where two of them did the same.
    """
    told = [json.loads(part.read_text(encoding="utf-8")) for part in parts]
    merged: dict[str, Any] = {}
    begun: set[tuple[str, int]] = set()
    for each in sorted(told, key=lambda part: part["first_seed"]):
        kind = f"moments of {each['role']}" if "role" in each else "seeds"
        if (kind, each["first_seed"]) in begun:
            raise ValueError(f"{kind} from {each['first_seed']} on are there twice")
        begun.add((kind, each["first_seed"]))
        sums = merged.setdefault(
            kind,
            {"scenarios": 0, "seconds": 0.0, "failures": 0, "totals": Counter(),
             "by_kind": Counter(), "shown": {}},
        )  # fmt: skip
        for name in ("scenarios", "seconds", "failures"):
            sums[name] += each[name]
        sums["totals"].update(each["totals"])
        sums["by_kind"].update(each["by_kind"])
        sums["shown"] = each["shown"] | sums["shown"]
    commits = sorted({each["commit"] for each in told if each.get("commit")})
    whole = {
        "facts": machine(),
        "commits": commits,
        "processes": max(each["processes"] for each in told),
        **merged,
    }
    out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def _commit() -> str:
    """What is simulated; empty where that is not known."""
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _belong(parent: int) -> None:
    """In a process of the pool: it ends with parent, and has nothing to say of that."""
    die_with_parent(parent)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN if signum == signal.SIGINT else signal.SIG_DFL)


def _seeds(chunk: range) -> Sums:
    return _all(map(draw, chunk))


def _moments(chunk: tuple[str, int, int]) -> Sums:
    role, seed, step = chunk
    return _all(islice(moments(role, seed), 0, None, step))


def _all(scenarios: Iterator[Scenario]) -> Sums:
    sums = Sums()
    gc.disable()
    for scenario in scenarios:
        sums.scenarios += 1
        if sums.scenarios % GARBAGE == 0:
            gc.collect()
        try:
            sums.enter(simulate(scenario))
        except Violation as violation:
            sums.counts[violation.kind] += 1
            sums.failures.append((violation.kind, str(violation), scenario))
        except Exception as error:
            kind = f"broken: {type(error).__name__}"
            sums.counts[kind] += 1
            sums.failures.append((kind, traceback.format_exc()[-500:], scenario))
    return sums


def _run(
    work: Any,
    chunks: list[Any],
    processes: int,
    out: Path | None,
    asked: dict[str, Any],
    *,
    most: int | None = None,
) -> Sums:
    began, sums = time.perf_counter(), Sums()
    gc.freeze()  # what is there by now stays
    pools = multiprocessing.get_context("fork")
    with one_folder_for_all(), pools.Pool(processes, _belong, (os.getpid(),)) as pool:
        for part in pool.imap_unordered(work, chunks):
            sums.add(part)
            took_s = time.perf_counter() - began
            each_ms = 1000 * took_s / max(1, sums.scenarios)
            print(
                f"\r{sums.scenarios:,} scenarios, {sum(sums.counts.values())} failures, "
                f"{each_ms:.1f} ms each",
                end="",
                flush=True,
            )
            if most is not None and sums.scenarios >= most:
                pool.terminate()
                break
    print()
    if out is not None:
        told = {"facts": machine(), "commit": _commit(), **asked, "processes": processes}
        told["seconds"] = took_s
        out.write_text(json.dumps(told | sums.to_dict(), indent=1) + "\n", encoding="utf-8")
    return sums
