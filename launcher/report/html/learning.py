"""What was learnt, drawn: the curves of every run, and the boundaries of the decoupled one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from dni_async.launcher.report.html.parts import curve_legend, hue, section, table
from dni_async.launcher.report.html.svg import Series, draw_curves
from dni_async.launcher.report.rows import boundary_rows, metric_rows

__all__ = ["Read", "draw_boundaries", "draw_learning", "points_of"]

NUM_HUES = 12

Read = Callable[[Mapping[str, Any]], float | None]


def draw_learning(runs: Sequence[Mapping[str, Any]]) -> str:
    """Metrics and loss of every run, by epochs and by seconds of training."""

    def series(of: Read, *, by_seconds: bool) -> list[Series]:
        return [
            Series(run["name"], hue(index), list(points_of(run, of, by_seconds=by_seconds)))
            for index, run in enumerate(runs)
        ]

    figures: list[tuple[str, Read]] = [
        (f"test {name}", partial(_metric, name=name)) for name, *_ in metric_rows(runs)
    ]
    figures += [
        ("test loss", lambda epoch: epoch.get("test_loss")),
        ("training loss", lambda epoch: epoch["train_loss"]),
    ]
    charts = [
        draw_curves(title, series(of, by_seconds=is_timed), x_label=x_label, show=_short)
        for title, of in figures
        for is_timed, x_label in ((False, "epoch"), (True, "seconds of training"))
    ]
    names = curve_legend((run["name"], hue(index)) for index, run in enumerate(runs))
    return section("Learning", names + _charts(charts))


def draw_boundaries(run: Mapping[str, Any]) -> str:
    """How synthetic and returned gradients agreed at each boundary; nothing where none did."""
    boundaries = run.get("boundaries", [])
    if not boundaries:
        return ""

    def series(key: str) -> list[Series]:
        return [
            Series(_name(each), _hue(each), [(e["epoch"], e[key]) for e in each["epochs"]])
            for each in boundaries
        ]

    def chart(title: str, key: str, show: Callable[[float], str], *encloses: float) -> str:
        return draw_curves(title, series(key), x_label="epoch", show=show, encloses=encloses)

    charts = [
        chart("cosine of the two", "cosine", _short, 0.0, 1.0),
        chart("norm of the synthetic over the returned", "norm_ratio", _short, 0.0, 1.0),
        chart("relative error", "relative_error", _short, 0.0, 1.0),
        chart("staleness, median", "staleness_median", _short, 0.0),
    ]
    names = curve_legend((_name(each), _hue(each)) for each in boundaries)
    columns = ["boundary", "gradients", "cosine", "relative error", "norm ratio"]
    columns += ["corrected", "staleness", "max"]
    note = (
        '<p class="note">Boundary k lies between stages k and k + 1. Each gradient that came back '
        "is compared with the synthetic one that the boundary would give for the same activation "
        "at that moment: means over an epoch. In the table, the first and the last epoch. Best "
        "are a cosine and a norm ratio of 1, and an error of 0. Corrected: whether the boundary "
        "adds what true gradients have taught it, which it does where that comes nearer.</p>"
    )
    rows = table(columns, boundary_rows(run))
    return section("Synthetic against returned gradients", names + _charts(charts) + rows + note)


def points_of(
    run: Mapping[str, Any], of: Read, *, by_seconds: bool
) -> Iterator[tuple[float, float]]:
    """A figure over epochs or seconds of training, where it is: all samples may be lost."""
    seconds = 0.0
    for epoch in run["epochs"]:
        seconds += epoch["seconds"]
        value = of(epoch)
        if value is not None:
            yield round(seconds, 3) if by_seconds else epoch["epoch"], value


def _metric(epoch: Mapping[str, Any], name: str) -> float | None:
    value: float | None = epoch["test_metrics"].get(name)
    return value


def _charts(charts: Iterable[str]) -> str:
    return f'<div class="charts">{"".join(charts)}</div>'


def _name(boundary: Mapping[str, Any]) -> str:
    return f"boundary {boundary['stage']}"


def _hue(boundary: Mapping[str, Any]) -> str:
    return f"hue-{boundary['stage'] % NUM_HUES}"


def _short(y: float) -> str:
    return f"{y:.4g}"
