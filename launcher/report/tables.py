"""A report as tables on a terminal, and the sentences beneath them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dni_async.decisions.goal import LOSS
from dni_async.launcher.report.comparison import comparison_of, lines
from dni_async.launcher.report.diagnosis import Diagnosis, diagnose
from dni_async.launcher.report.foreign_text import legible
from dni_async.launcher.report.rows import (
    LINK_COLUMNS,
    boundary_rows,
    chosen_figure,
    figure_text,
    has_unshown,
    layer_range,
    link_rows,
    metric_rows,
)
from dni_async.wire.counters import FIGURES

__all__ = ["print_diagnosis", "print_report"]

TO_TARGET = "s to target"
MAX_HEADING = 12  # characters
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
        console.print(_table("metrics in the end", names, metric_rows(report["runs"])))
    for run in report["runs"]:
        if run["workers"]:
            console.print(_workers_table(run))
            _print_extra_work(run, console)
            _print_restarts(run, console)
        if boundary_rows(run):
            console.print(_boundaries_table(run))
        if link_rows(run):
            console.print(_links_table(run))
    _print_speedup(report, console)


def _print_speedup(report: Mapping[str, Any], console: Console) -> None:
    """How the decoupled run compares with the baselines."""
    for line in lines(comparison_of(report)):
        text = Text(legible(line))
        text.highlight_words(["(faster)"], "green")
        text.highlight_words(["(SLOWER)"], "red")
        console.print(text, highlight=False, soft_wrap=True)
    to_target = (report["speedup"] or {}).get("time_to_target_vs_all_threads")
    if to_target is not None:
        word = "sooner" if to_target >= 1 else "LATER"
        metric, target = report["runs"][0]["metric"], report["config"].get("target")
        reached = f"{metric} of {figure_text(metric, target)}"
        text = Text(legible(f"{reached} reached {to_target:.2f}x {word} than on all threads"))
        console.print(text, highlight=False)


def _print_extra_work(run: Mapping[str, Any], console: Console) -> None:
    """What stages learnt from beside the batches that passed the whole network."""
    for worker in run["workers"]:
        extra = [
            f"{worker[kind]:,} batches {kind}"
            for kind in ("skipped", "replayed")
            if worker.get(kind)  # older reports have none
        ]
        if extra:
            console.print(
                f"stage {worker['stage']}: {', '.join(extra)}, which no rate above counts",
                highlight=False,
            )


def _print_restarts(run: Mapping[str, Any], console: Console) -> None:
    """Which workers were replaced, and how long each stage stood still."""
    for restart in run.get("restarts", []):  # older reports have none
        seconds = restart["seconds"]
        back = "made no update" if seconds is None else f"made its first update {seconds:.2f} s on"
        console.print(
            f"stage {restart['stage']} was replaced {restart['at_seconds']:.1f} s after the start; "
            f"its replacement {back}",
            highlight=False,
            soft_wrap=True,
        )


def print_diagnosis(report: Mapping[str, Any], console: Console) -> None:
    """Where the decoupled run's time went, stage by stage, what bounds it and what to change."""
    diagnosis = diagnose(report)
    if diagnosis is None:
        console.print("The report tells too little of the workers for a diagnosis.")
        return
    run = next(run for run in report["runs"] if run["kind"] == "decoupled")
    console.print(_stages_table(run, diagnosis))
    for text in (*diagnosis.findings, *diagnosis.advice):
        console.print(f"- {legible(text)}", highlight=False, markup=False, soft_wrap=True)


def _stages_table(run: Mapping[str, Any], diagnosis: Diagnosis) -> Table:
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


def _runs_table(report: Mapping[str, Any]) -> Table:
    columns = ["run", "workers", "threads", "samples/s", "train s"]
    metric = next((run["metric"] for run in report["runs"]), LOSS)
    if metric != LOSS:
        columns.append(_shortened(metric))
    columns.append(LOSS)
    has_target = report["config"].get("target") is not None
    rows = []
    for run in report["runs"]:
        cells = [
            run["name"],
            str(run["num_workers"]),
            str(run["num_threads"]),
            f"{run['samples_per_second']:,.0f}",
            f"{run['train_seconds']:.2f}",
            *([] if metric == LOSS else [chosen_figure(run)]),
            figure_text(LOSS, run["test_loss"]),
        ]
        to_target = run["seconds_to_target"]
        reached = "not reached" if to_target is None else f"{to_target:.2f}"
        rows.append([*cells, reached] if has_target else cells)
    title = f"{report['data']['name']} ({report['status']})"
    return _table(title, [*columns, TO_TARGET] if has_target else columns, rows)


def _shortened(name: str) -> str:
    """A name as a heading above figures."""
    return name if len(name) <= MAX_HEADING else f"{name[: MAX_HEADING - 1]}\N{HORIZONTAL ELLIPSIS}"


def _workers_table(run: Mapping[str, Any]) -> Table:
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


def _boundaries_table(run: Mapping[str, Any]) -> Table:
    columns = ("boundary", "gradients", "cosine", "error", "norm ratio", "stale", "max")
    title = "synthetic against returned gradients, first to last epoch"
    return _table(title, columns, boundary_rows(run))


def _links_table(run: Mapping[str, Any]) -> Table:
    return _table("links; bytes of a batch, credits in ms", LINK_COLUMNS, link_rows(run))


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Numbers to the right, names to the left. Headings and cells may hold anybody's text."""
    table = Table(
        title=Text(legible(title), "table.title"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name in columns:
        may_wrap = name == TO_TARGET  # where there is little room, this gives way
        justify: Literal["left", "right"] = "left" if name in ("run", "metric") else "right"
        table.add_column(Text(legible(name)), justify=justify, no_wrap=not may_wrap)
    for row in rows:
        table.add_row(*(Text(legible(cell)) for cell in row))
    return table
