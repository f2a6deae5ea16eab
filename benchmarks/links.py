"""Links against raw ZeroMQ, gloo and a plain copy: ``python -m benchmarks.links``.

Two processes, tensors one way, credits back, a window of 4. The receiver makes a tensor of what
arrives and does not look inside (``--reads``: it sums it). Rounds go over all lanes, so that a
busy moment of the machine meets them all.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.harness.facts import Observation, Spread
from benchmarks.harness.report import (
    Measuring,
    benchmark_options,
    enter,
    make_console,
    numbers,
    print_facts,
    rotated,
    table,
    verdict,
    write,
)
from benchmarks.rivals.lanes.lane_pair import LANES, Crossing, LanePair

__all__ = ["main"]

KB, MB = 2**10, 2**20
SIZES = (KB, 8 * KB, 64 * KB, MB, 4 * MB, 8 * MB, 32 * MB, 64 * MB)
QUICK_SIZES = (KB, 256 * KB)
OURS = "link-slots"  # what --transport auto gives on one host
RIVALS = ("raw-ipc", "raw-tcp", "unix-socket", "gloo")
DOORBELL_BYTES = 64
DOORBELL_PAUSE_S = 0.002

Key = tuple[str, int]  # lane, size_bytes


@click.command("links")
@benchmark_options
@click.option("--sizes", help="Bytes of a tensor, multiples of 4, as in 1024,65536.")
@click.option("--lanes", default=",".join(LANES), show_default=True, help="What to measure.")
@click.option("--window", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--reads", is_flag=True, help="The receiver reads every byte.")
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    sizes: str | None,
    lanes: str,
    window: int,
    reads: bool,
) -> None:
    """Latency and bandwidth of our links and of other ways between two processes."""
    measuring = Measuring.of(json_path, repeats, quick)
    chosen = _chosen_lanes(lanes)
    asked = numbers(sizes) if sizes else list(QUICK_SIZES if quick else SIZES)
    if any(size % 4 for size in asked):
        raise click.BadParameter("sizes must be multiples of 4: the tensors hold float32")
    console = make_console()
    observation = Observation()
    rounds = _Rounds(chosen, asked, quick=quick)
    settings = {"window": window, "reads": reads, "repeats": measuring.repeats, "quick": quick}
    with LanePair(window=window, reads=reads) as pair:
        for number in range(measuring.repeats):
            rounds.measure(pair, number)
            console.print(f"round {number + 1} of {measuring.repeats} done", highlight=False)
            rows = {"rows": list(rounds.rows())}
            write(measuring.json, "links", observation.facts(), settings, rows)
    facts = observation.facts()
    _print(console, rounds, facts["not_comparable"])
    print_facts(console, facts)


class _Rounds:
    """All measurements so far, by lane and size; one of each per round."""

    def __init__(self, lanes: Sequence[str], sizes: Sequence[int], *, quick: bool) -> None:
        self.lanes, self.sizes = lanes, sizes
        self._quick = quick
        self._streams: dict[Key, list[Crossing]] = {}
        self._pings: dict[Key, list[Crossing]] = {}
        self._doorbells: dict[Key, list[Crossing]] = {}

    def measure(self, pair: LanePair, number: int) -> None:
        """One round."""
        for size in self.sizes:
            for lane in rotated(self.lanes, number):
                crossing = pair.measure(lane, "bandwidth", size, self._count(size, 2000, 512 * MB))
                self._streams.setdefault((lane, size), []).append(crossing)
                crossing = pair.measure(lane, "latency", size, self._count(size, 200, 256 * MB))
                self._pings.setdefault((lane, size), []).append(crossing)
        for lane in self.lanes:
            if lane == "memcpy":
                continue
            crossing = pair.measure(
                lane,
                "latency",
                DOORBELL_BYTES,
                10 if self._quick else 100,
                pause_s=DOORBELL_PAUSE_S,
            )
            self._doorbells.setdefault((lane, DOORBELL_BYTES), []).append(crossing)

    def bandwidth(self, lane: str, size: int) -> Spread:
        """GB/s of each round."""
        return Spread.of([c.bytes_per_s / 1e9 for c in self._streams[lane, size]])

    def round_trip(self, lane: str, size: int, percent: int = 50) -> Spread:
        """Microseconds, of each round its percentile."""
        return _microseconds(self._pings[lane, size], percent)

    def doorbell(self, lane: str, percent: int = 50) -> Spread:
        """Microseconds of a tiny message there and its credit back, both ends asleep before."""
        return _microseconds(self._doorbells[lane, DOORBELL_BYTES], percent)

    def rows(self) -> Iterator[dict[str, Any]]:
        """As the JSON shows them."""
        for (lane, size), streams in self._streams.items():
            lower_us = Spread.of([crossing.lower_cpu_s * 1e6 for crossing in streams])
            upper_us = Spread.of([crossing.upper_cpu_s * 1e6 for crossing in streams])
            yield {
                "lane": lane,
                "size_bytes": size,
                "gb_per_s": self.bandwidth(lane, size).to_dict(),
                "round_trip_p50_us": self.round_trip(lane, size).to_dict(),
                "round_trip_p99_us": self.round_trip(lane, size, 99).to_dict(),
                "lower_cpu_us": lower_us.to_dict(),
                "upper_cpu_us": upper_us.to_dict(),
                "shared": streams[0].shared,
            }
        yield from (self._doorbell_row(lane, size) for lane, size in self._doorbells)

    def _doorbell_row(self, lane: str, size: int) -> dict[str, Any]:
        return {
            "lane": lane,
            "size_bytes": size,
            "pause_s": DOORBELL_PAUSE_S,
            "doorbell_p50_us": self.doorbell(lane).to_dict(),
            "doorbell_p99_us": self.doorbell(lane, 99).to_dict(),
        }

    def _count(self, size: int, most: int, budget_bytes: int) -> int:
        """Messages of one measurement: many small ones, at least a few large ones."""
        if self._quick:
            most, budget_bytes = most // 20, budget_bytes // 64
        return max(8, min(most, budget_bytes // size))


def _microseconds(crossings: Sequence[Crossing], percent: int) -> Spread:
    return Spread.of([_percentile(c.round_trips, percent) * 1e6 for c in crossings])


def _percentile(values: Sequence[float], percent: int) -> float:
    if percent == 50:
        return statistics.median(values)
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _chosen_lanes(text: str) -> list[str]:
    chosen = text.split(",")
    unknown = [lane for lane in chosen if lane not in LANES]
    if unknown:
        raise click.BadParameter(f"unknown lane {unknown[0]!r}; there are {', '.join(LANES)}")
    return chosen


def _print(console: Console, rounds: _Rounds, not_comparable: str | None) -> None:
    _print_table(console, rounds, "one way, GB/s (median of rounds)", rounds.bandwidth, "{:.2f}")
    for percent in (50, 99):
        title = f"round trip p{percent}, us (tensor up, credit back)"
        measured = _at(rounds.round_trip, percent)
        _print_table(console, rounds, title, measured, "{:,.0f}", doorbell=percent)
    rivals = [lane for lane in RIVALS if lane in rounds.lanes]
    if OURS not in rounds.lanes or not rivals:
        return
    for what, measured, more_is_better in (
        ("bandwidth", rounds.bandwidth, True),
        ("round trip p50", rounds.round_trip, False),
    ):
        made = table(f"{OURS} against the rivals: {what}", ["size", *rivals])
        for size in rounds.sizes:
            ours = measured(OURS, size)
            cells = [
                verdict(_factor(ours, measured(r, size), more_is_better), not_comparable)
                for r in rivals
            ]
            made.add_row(_size(size), *cells)
        console.print(made)


def _print_table(
    console: Console,
    rounds: _Rounds,
    title: str,
    measured: Callable[[str, int], Spread],
    form: str,
    *,
    doorbell: int = 0,
) -> None:
    made = table(title, ["size", *rounds.lanes])
    if doorbell:
        bells = [
            "-" if r == "memcpy" else form.format(rounds.doorbell(r, doorbell).median)
            for r in rounds.lanes
        ]
        made.add_row("doorbell", *bells)
    for size in rounds.sizes:
        cells = [form.format(measured(lane, size).median) for lane in rounds.lanes]
        made.add_row(_size(size), *cells)
    console.print(made)


def _at(measured: Callable[[str, int, int], Spread], percent: int) -> Callable[[str, int], Spread]:
    return lambda lane, size: measured(lane, size, percent)


def _factor(ours: Spread, theirs: Spread, more_is_better: bool) -> Spread:
    """How many times better ours is, round by round."""
    pairs = zip(ours.values, theirs.values, strict=True)
    return Spread.of([a / b if more_is_better else b / a for a, b in pairs])


def _size(size: int) -> str:
    return f"{size // MB} MB" if size >= MB else f"{size / KB:g} KB"


if __name__ == "__main__":
    enter(main)
