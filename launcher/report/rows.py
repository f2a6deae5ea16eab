"""Parts of a report as the rows of tables, alike on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from dni_async.config.metric_names import LOSS, traits_of_metric

__all__ = [
    "LINK_COLUMNS",
    "best_lines",
    "boundary_rows",
    "choice_lines",
    "chosen_figure",
    "chosen_metric",
    "figure_text",
    "has_unshown",
    "layer_range",
    "link_rows",
    "metric_rows",
    "metrics_of",
    "move_lines",
    "num_epochs",
    "ours_of",
    "run_table",
    "setting_text",
    "stage_names",
    "stop_lines",
]

SMALL, LARGE = 1e-4, 1e5  # beyond, four digits behind the point say nothing

LINK_COLUMNS = (
    "link",
    "carrier",
    "dtype",
    "window",
    "KB up",
    "KB down",
    "MB/s up",
    "credit",
    "least",
)


def ours_of(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The decoupled run of a report; None of one that failed before there was any."""
    return next((run for run in report["runs"] if run["kind"] == "decoupled"), None)


def num_epochs(run: Mapping[str, Any]) -> int:
    """How many epochs a run has behind it."""
    return int(run["epochs"][-1]["epoch"]) if run["epochs"] else 0


def run_table(
    report: Mapping[str, Any], facts: Sequence[str], *, figures: str = ""
) -> tuple[list[str], list[list[str]]]:
    """The runs side by side: the names of the columns, and a row for each run.

    facts: of _FACTS, those that come first. Behind them stand the chosen metric and the loss, whose
    names figures comes before, and where there is a target the seconds to it.
    """
    runs, metric = report["runs"], chosen_metric(report["runs"])
    columns = [(name, _FACTS[name]) for name in facts]
    if metric != LOSS:
        columns.append((figures + metric, lambda run, _: chosen_figure(run)))
    columns.append((figures + LOSS, lambda run, _: figure_text(LOSS, run["test_loss"])))
    if report["config"].get("target") is not None:
        columns.append(("s to target", _to_target))
    names = [name for name, _ in columns]
    return names, [[cell(run, report["config"]) for _, cell in columns] for run in runs]


def _epochs(run: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    done, total = num_epochs(run), config.get("epochs")
    return str(done) if total is None else f"{done} of {total}"


def _to_target(run: Mapping[str, Any], _config: Mapping[str, Any]) -> str:
    seconds = run["seconds_to_target"]
    return "not reached" if seconds is None else f"{seconds:.2f}"


_FACTS: Final[Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], str]]] = {
    "run": lambda run, _: run["name"],
    "epochs": _epochs,
    "workers": lambda run, _: str(run["num_workers"]),
    "threads": lambda run, _: str(run["num_threads"]),
    "samples/s": lambda run, _: f"{run['samples_per_second']:,.0f}" if run["epochs"] else "-",
    "train s": lambda run, _: f"{run['train_seconds']:.2f}" if run["epochs"] else "-",
    "start-up s": lambda run, _: f"{run['startup_seconds']:.2f}",
}


def layer_range(first: int, end: int) -> str:
    """The layers from first up to end, without it, in words."""
    return str(first) if end == first + 1 else f"{first}-{end - 1}"


def stage_names(stages: Iterable[int]) -> str:
    """Stages in words: "stage 3", "stages 0-2, 5"."""
    spans: list[list[int]] = []
    for stage in sorted(stages):
        if spans and spans[-1][-1] == stage - 1:
            spans[-1][1:] = [stage]
        else:
            spans.append([stage])
    is_one = len(spans) == 1 and len(spans[0]) == 1
    return f"stage{'' if is_one else 's'} {', '.join('-'.join(map(str, s)) for s in spans)}"


def figure_text(name: str, value: float | None) -> str:
    """A metric, or the loss, by its name, as people read it."""
    if value is None:
        return "-"
    if traits_of_metric(name).is_share:
        return f"{value:.2%}"
    if 0 < abs(value) < SMALL:
        return f"{value:.1e}"
    return f"{value:.4f}" if abs(value) < LARGE else f"{value:.4g}"


def metric_rows(runs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Of each metric its name, and what it came to in each run; the chosen one comes first."""
    names = dict.fromkeys(name for run in runs for name in run["test_metrics"])
    chosen = {run["metric"] for run in runs}
    ordered = sorted(names, key=lambda name: name not in chosen)
    return [
        [name, *(figure_text(name, run["test_metrics"].get(name)) for run in runs)]
        for name in ordered
    ]


def has_unshown(runs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether anything was measured beside the loss and the chosen metric."""
    return any(set(run["test_metrics"]) - {run["metric"]} for run in runs)


def metrics_of(row: Mapping[str, Any]) -> dict[str, float]:
    """What was measured on the test set after an epoch, or in the end, by name; the loss last."""
    loss = row.get("test_loss")
    return dict(row.get("test_metrics", {})) | ({} if loss is None else {LOSS: loss})


def chosen_metric(runs: Iterable[Mapping[str, Any]]) -> str:
    """The name of the metric that runs are judged by, which is that of the first."""
    return next((str(run["metric"]) for run in runs), LOSS)


def chosen_figure(run: Mapping[str, Any]) -> str:
    """What the chosen metric of a run came to in the end."""
    return figure_text(run["metric"], metrics_of(run).get(run["metric"]))


def boundary_rows(run: Mapping[str, Any]) -> list[list[str]]:
    """Of each boundary, the first epoch to the last; none in a report that does not tell.

    Boundary, gradients compared, cosine, relative error, norm ratio, whether the boundary corrected
    itself, median staleness, and the largest staleness of all epochs.
    """
    return [
        _boundary_row(boundary["stage"], boundary["epochs"])
        for boundary in run.get("boundaries", [])
        if boundary["epochs"]
    ]


def _boundary_row(stage: int, epochs: list[Mapping[str, Any]]) -> list[str]:
    def change(key: str, form: str) -> str:
        first, last = (format(epoch[key], form) for epoch in (epochs[0], epochs[-1]))
        return last if first == last else f"{first} to {last}"

    return [
        str(stage),
        f"{sum(epoch['num_gradients'] for epoch in epochs):,}",
        change("cosine", ".2f"),
        change("relative_error", ".2f"),
        change("norm_ratio", ".2f"),
        _corrected([epoch.get("corrected") for epoch in epochs]),
        change("staleness_median", "d"),
        str(max(epoch["staleness_max"] for epoch in epochs)),
    ]


def _corrected(shares: list[float | None]) -> str:
    """Whether it added what true gradients had taught it, in a word; older reports do not tell."""
    known = [share for share in shares if share is not None]
    if not known:
        return ""
    if known[-1] > 0:
        return "yes" if known[-1] == 1 else "at times"
    return "no longer" if any(known) else "no"


def link_rows(run: Mapping[str, Any]) -> list[list[str]]:
    """The rows of a table with LINK_COLUMNS; none in a report that does not tell."""
    return [
        [
            str(link["boundary"]),
            link["carrier"],
            link["wire_dtype"],
            str(link["window"]),
            f"{link['up_bytes'] / 1e3:,.1f}",
            f"{link['down_bytes'] / 1e3:,.1f}",
            f"{link['up_bytes_per_second'] / 1e6:,.1f}",
            _ms(link["credit_median_seconds"]),
            _ms(link["credit_least_seconds"]),
        ]
        for link in run.get("links", [])  # older reports have none
    ]


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.2f}"


def setting_text(value: Any) -> str:
    """A setting, as people read it."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "unset" if value is None else str(value)


def best_lines(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of each run that kept the network that was tested best: what it came to, and where it is."""
    kept = [run["best_checkpoint"] for run in runs if run.get("best_checkpoint")]
    return [
        f"best network: {best['metric']} {figure_text(best['metric'], best['value'])} after epoch "
        f"{best['epoch']}, in {best['folder']}; dni_async.load(RUN_DIR, best=True) gives it"
        for best in kept
    ]


def choice_lines(report: Mapping[str, Any]) -> list[str]:
    """How the rule was chosen, where that was left open."""
    choice = report.get("rule_choice")
    return [] if choice is None else [choice["sentence"]]


def move_lines(run: Mapping[str, Any]) -> list[str]:
    """Of each move of layers: when and where to, what it should bring and what it brought."""
    return [_move_line(each) for each in run.get("moves", [])]  # older reports have none


def _move_line(move: Mapping[str, Any]) -> str:
    before, after = ("+".join(map(str, move[name])) for name in ("before", "after"))
    line = f"{move['at_seconds']:.1f} s after the start stages held {after} layers, not {before}"
    if move["stood_still_seconds"] is not None:
        line += f"; the line stood still for {move['stood_still_seconds']:.2f} s"
    if move["before_seconds"] is None:
        return line
    was, foretold = 1e3 * move["before_seconds"], 1e3 * move["foretold_seconds"]
    brought = move["brought_seconds"]
    found = "it was not measured" if brought is None else f"it took {1e3 * brought:.2f}"
    return f"{line}; the slowest, {was:.2f} ms a batch, should take {foretold:.2f}: {found}"


def stop_lines(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of each run that was asked to end before its last epoch: why, and what it came to."""
    return [_stop_line(run, run["stopped"]) for run in runs if run.get("stopped")]


def _stop_line(run: Mapping[str, Any], stopped: Mapping[str, Any]) -> str:
    metric = run["metric"]
    figure = metrics_of({"test_metrics": {}, "test_loss": None, **stopped}).get(metric)
    line = f"{run['name']} was asked to stop: {stopped['reason']}"
    if figure is None:
        return line
    return f"{line}; the network as it came back has {metric} {figure_text(metric, figure)}"
