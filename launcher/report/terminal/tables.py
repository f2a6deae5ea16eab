"""A report as tables on a terminal, and the sentences beneath them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console

from dni_async.launcher.report.comparison import comparison_of, lines
from dni_async.launcher.report.diagnosis import Diagnosis, diagnose
from dni_async.launcher.report.rows import (
    LINK_COLUMNS,
    best_lines,
    boundary_rows,
    choice_lines,
    chosen_metric,
    figure_text,
    has_unshown,
    layer_range,
    link_rows,
    metric_rows,
    move_lines,
    run_table,
    stop_lines,
)
from dni_async.launcher.report.terminal.columns import Column, FittedTable
from dni_async.launcher.report.terminal.sentences import say
from dni_async.wire.counters import FIGURES

__all__ = ["print_comparison", "print_diagnosis", "print_report"]

# What gives way where a terminal is narrow: the larger, the sooner.
_RANKS: Final = {
    "pid": 9, "pend": 8, "MB": 7, "device": 6, "send": 5, "layers": 4, "stale": 3, "wait": 2,
    "workers": 9, "threads": 8, "loss": 2, "train s": 1,
    "norm ratio": 9, "max": 8, "gradients": 7, "error": 2,
    "dtype": 9, "least": 8, "carrier": 7, "KB down": 6, "credit": 3, "window": 2,
    "p99": 9, "peak MB": 8, "MB sent": 7,
}  # fmt: skip
_TEXTS: Final = ("run", "metric", "epochs")
_FORMS: Final[Mapping[str, Callable[[Any], str]]] = {
    "part": lambda share: f"{share:.0%}",
    "count": lambda count: f"{count:,}",
    "bytes": lambda size: f"{size / 2**20:,.0f}",
}


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """The runs side by side, then the workers and the boundaries of the decoupled one."""
    console.print(_runs_table(report))
    if has_unshown(report["runs"]):
        names = ("metric", *(run["name"] for run in report["runs"]))
        columns = [Column(name, is_text=name == "metric") for name in names]
        console.print(FittedTable("metrics in the end", columns, metric_rows(report["runs"])))
    for run in report["runs"]:
        if run["workers"]:
            console.print(_workers_table(run))
            _print_extra_work(run, console)
            _print_restarts(run, console)
            for line in move_lines(run):
                say(console, line)
        if boundary_rows(run):
            console.print(_boundaries_table(run))
        if link_rows(run):
            console.print(_links_table(run))
    told = (*choice_lines(report), *stop_lines(report["runs"]), *best_lines(report["runs"]))
    for line in told:
        say(console, line)
    _print_speedup(report, console)


def print_comparison(report: Mapping[str, Any], console: Console) -> None:
    """The runs side by side, and how they compare: the report in short."""
    console.print(_runs_table(report))
    _print_speedup(report, console)


def _print_speedup(report: Mapping[str, Any], console: Console) -> None:
    """How the decoupled run compares with the baselines."""
    for line in lines(comparison_of(report)):
        say(console, line)
    to_target = (report["speedup"] or {}).get("time_to_target_vs_all_threads")
    if to_target is not None:
        word = "sooner" if to_target >= 1 else "LATER"
        metric, target = report["runs"][0]["metric"], report["config"].get("target")
        reached = f"{metric} of {figure_text(metric, target)}"
        say(console, f"{reached} reached {to_target:.2f}x {word} than on all threads")


def _print_extra_work(run: Mapping[str, Any], console: Console) -> None:
    """What stages learnt from beside the batches that passed the whole network."""
    for worker in run["workers"]:
        extra = [
            f"{worker[kind]:,} batches {kind}"
            for kind in ("skipped", "replayed")
            if worker.get(kind)  # older reports have none
        ]
        if extra:
            say(console, f"stage {worker['stage']}: {', '.join(extra)}, which no rate above counts")


def _print_restarts(run: Mapping[str, Any], console: Console) -> None:
    """Which workers were replaced, and how long each stage stood still."""
    for restart in run.get("restarts", []):  # older reports have none
        seconds = restart["seconds"]
        back = "made no update" if seconds is None else f"made its first update {seconds:.2f} s on"
        say(
            console,
            f"stage {restart['stage']} was replaced {restart['at_seconds']:.1f} s after the start; "
            f"its replacement {back}",
        )


def print_diagnosis(report: Mapping[str, Any], console: Console) -> None:
    """Where the decoupled run's time went, stage by stage, what bounds it and what to change."""
    diagnosis = diagnose(report)
    if diagnosis is None:
        say(console, "The report tells too little of the workers for a diagnosis.")
        return
    run = next(run for run in report["runs"] if run["kind"] == "decoupled")
    console.print(_stages_table(run, diagnosis))
    for text in (*diagnosis.findings, *diagnosis.advice):
        say(console, f"- {text}")


def _stages_table(run: Mapping[str, Any], diagnosis: Diagnosis) -> FittedTable:
    columns = ("stage", "ms/batch", "samples/s", "window", "stale", "p99", "max", "MB sent")
    batch_samples = diagnosis.line.batch_samples
    rows = []
    for worker, load in zip(run["workers"], diagnosis.line.loads, strict=True):
        occupancy = worker["occupancy"]
        rows.append(
            [
                str(load.stage),
                f"{load.batch_seconds * 1000:.2f}",
                f"{batch_samples / load.batch_seconds:,.0f}",
                "-" if occupancy is None else f"{occupancy:.0%}",
                str(worker["staleness_median"]),
                str(worker["staleness_p99"]),
                str(worker["max_staleness"]),
                f"{(worker['frame_bytes'] + worker['shared_bytes']) / 1e6:,.0f}",
                f"{worker['peak_rss_bytes'] / 2**20:,.0f}",
            ]
        )
    title = "stage by stage; samples/s if it never waited; stale: the median"
    return _table(title, (*columns, "peak MB"), rows)


def _runs_table(report: Mapping[str, Any]) -> FittedTable:
    is_whole = report["status"] == "finished"
    facts = (
        "run",
        *(() if is_whole else ("epochs",)),
        "workers",
        "threads",
        "samples/s",
        "train s",
    )
    columns, rows = run_table(report, facts)
    # The chosen metric may have any name, and always stays.
    ranks = {**_RANKS, chosen_metric(report["runs"]): 0}
    made = [Column(name, ranks.get(name, 0), is_text=name in _TEXTS) for name in columns]
    return FittedTable(f"{report['data']['name']} ({report['status']})", made, rows)


def _workers_table(run: Mapping[str, Any]) -> FittedTable:
    shown = [figure.shown for figure in FIGURES if figure.shown.column]
    rows = [
        [
            str(worker["stage"]),
            layer_range(*worker["layers"]),
            str(worker["pid"]),
            worker["device"],
            *(_FORMS[each.unit](worker[each.report]) for each in shown),
        ]
        for worker in run["workers"]
    ]
    columns = ("stage", "layers", "pid", "device", *(each.column for each in shown))
    return _table(f"workers of {run['name']}", columns, rows)


def _boundaries_table(run: Mapping[str, Any]) -> FittedTable:
    columns = (
        "boundary",
        "gradients",
        "cosine",
        "error",
        "norm ratio",
        "corrected",
        "stale",
        "max",
    )
    title = "synthetic against returned gradients, first to last epoch"
    return _table(title, columns, boundary_rows(run))


def _links_table(run: Mapping[str, Any]) -> FittedTable:
    return _table("links; bytes of a batch, credits in ms", LINK_COLUMNS, link_rows(run))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> FittedTable:
    """Numbers to the right, names to the left. Headings and cells may hold anybody's text."""
    made = [Column(name, _RANKS.get(name, 0), is_text=name in _TEXTS) for name in columns]
    return FittedTable(title, made, rows)
