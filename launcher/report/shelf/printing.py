"""A list of runs, and runs side by side, on a terminal of any width."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dni_async.launcher.report.comparison import NOT_COMPARABLE
from dni_async.launcher.report.rows import figure_text
from dni_async.launcher.report.shelf.listing import Listing
from dni_async.launcher.report.shelf.rows import Row
from dni_async.launcher.report.terminal.columns import GAP, Column, FittedTable
from dni_async.launcher.report.terminal.sentences import say
from dni_async.wire.foreign_text import legible

__all__ = ["WIDE", "print_comparison", "print_listing"]

MOST = 24  # characters of a column
LABEL = 22  # of a fact beside the runs
WIDE: Final = 10_000  # characters of a line that nobody's terminal bounds
# What gives way in a list where a terminal is narrow: the larger, the sooner.
_RANKS: Final = {
    "ended": 6, "baselines": 5, "resumable": 4, "rule": 3, "data": 2, "samples/s": 1,
}  # fmt: skip
_NUMBERS: Final = ("samples/s",)
Cell = Callable[[Row], str]


def print_listing(listing: Listing, console: Console) -> None:
    """A line for each run; where there is no room for all columns, it says which were left out."""
    columns = [Column(name, _RANKS.get(name, 0), is_text=name not in _NUMBERS) for name in _LISTED]
    rows = [[cell(row) for cell in _LISTED.values()] for row in listing.rows]
    console.print(FittedTable("", columns, rows))
    for reason in listing.passed_over:
        say(console, f"passed over: {reason}")


def print_comparison(compared: Mapping[str, Any], console: Console) -> None:
    """Facts downwards, the runs beside each other; in several tables where one is too wide."""
    facts = list(_facts(compared))
    runs = [row["name"] for row in compared["runs"]]
    widths = [
        min(MOST, max(len(name), *(len(cells[k]) for _, cells in facts if cells)))
        for k, name in enumerate(runs)
    ]
    for those in _blocks(widths, console.width - LABEL - GAP):
        console.print(_side_by_side(facts, runs, those))
    for note in compared["notes"]:
        say(console, f"- {note}")


def _blocks(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """The columns in groups that fit into room, one at least in each."""
    block: list[int] = []
    for k, width in enumerate(widths):
        if block and sum(widths[each] + GAP for each in block) + width + GAP > room:
            yield block
            block = []
        block.append(k)
    if block:
        yield block


def _side_by_side(
    facts: Sequence[tuple[str, list[str]]], runs: Sequence[str], those: Sequence[int]
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("run", max_width=LABEL, overflow="fold")
    for k in those:
        heading = Text(legible(runs[k]), overflow="fold")
        table.add_column(heading, justify="right", max_width=MOST, overflow="fold")
    for label, cells in facts:
        if not cells:
            table.add_row()
        style = None if cells else "bold"
        table.add_row(
            Text(legible(label), style or ""), *(Text(legible(cells[k])) for k in those if cells)
        )
    return table


def _facts(compared: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Label, and what it is of each run; of a heading nothing."""
    rows: Sequence[Row] = compared["runs"]
    for label, cell in _COMPARED.items():
        yield label, [cell(row) for row in rows]
    if compared["level"] is not None:
        level = figure_text(rows[0]["metric"], compared["level"])
        cells = [_seconds(row.get("seconds_to_level")) for row in rows]
        yield f"s to {rows[0]['metric']} {level}", cells
    if any(row.get("seconds_to_target") is not None for row in rows):
        yield "s to its target", [_seconds(row.get("seconds_to_target")) for row in rows]
    for part, things in (("settings", "settings"), ("machine", "machines")):
        differing = [each for each in compared[part] if each["name"] not in _COMPARED]
        if differing:
            yield f"{things} that differ", []
        for each in differing:
            yield each["name"], each["values"]


def _cut(text: object) -> str:
    """text on one line of a list, its end kept, which tells paths apart."""
    words = " ".join(legible(str(text)).split())
    return words if len(words) <= MOST else f"\N{HORIZONTAL ELLIPSIS}{words[1 - MOST :]}"


def _metric(row: Row) -> str:
    if row.get("value") is None:
        return "-"
    return _cut(f"{row['metric']} {figure_text(row['metric'], row['value'])}")


def _rate(row: Row) -> str:
    rate = row.get("samples_per_second")
    return "-" if rate is None else f"{rate:,.0f}"


def _against(row: Row) -> str:
    """How its samples/s compare with those of its baselines, in short."""
    ratios = {"1 thread": row.get("vs_one_thread"), "all": row.get("vs_all_threads")}
    said = [f"{ratio:.2f}x {name}" for name, ratio in ratios.items() if isinstance(ratio, float)]
    if NOT_COMPARABLE in ratios.values() and not said:
        return NOT_COMPARABLE
    return ", ".join(said) or "-"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"


def _best(row: Row) -> str:
    if row.get("best") is None:
        return "-"
    return f"{figure_text(row['metric'], row['best'])} (epoch {row['best_epoch']})"


_LISTED: Final[Mapping[str, Cell]] = {
    "run": lambda row: _cut(row["name"]),
    "ended": lambda row: row["when"][:16].replace("T", " "),
    "status": lambda row: _cut(row["status"]),
    "data": lambda row: _cut(row.get("data", "-")),
    "rule": lambda row: _cut(row.get("rule", "-")),
    "result": _metric,
    "samples/s": _rate,
    "baselines": _against,
    "resumable": lambda row: "yes" if row["is_resumable"] else "no",
}
_COMPARED: Final[Mapping[str, Cell]] = {
    "status": lambda row: row["status"],
    "data": lambda row: row["data"],
    "rule": lambda row: row["rule"],
    "workers": lambda row: str(row.get("workers", "-")),
    "restarts": lambda row: str(row.get("restarts", "-")),
    "trained": lambda row: f"{row['epochs']} epochs" if "epochs" in row else "-",
    "samples/s": _rate,
    "its baselines": _against,
    "train s": lambda row: _seconds(row.get("train_seconds")),
    "in the end": _metric,
    "best": _best,
}
