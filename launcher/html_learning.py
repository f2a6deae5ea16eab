"""What was learnt, drawn: the curves of every run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from launcher.html_parts import hue, legend, section
from launcher.svg import Series, draw_curves

__all__ = ["draw_learning"]


def draw_learning(runs: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy and loss of every run, by epochs and by seconds of training."""

    def series(x: Callable[[Any], float], key: str) -> list[Series]:
        return [
            Series(run["name"], hue(index), [(x(e), e[key]) for e in _timed(run["epochs"])])
            for index, run in enumerate(runs)
        ]

    charts = [
        draw_curves(
            "test accuracy",
            series(lambda e: e["epoch"], "test_accuracy"),
            x_label="epoch",
            show=lambda y: f"{y:.4g}",
        ),
        draw_curves(
            "test accuracy",
            series(lambda e: e["since_start"], "test_accuracy"),
            x_label="seconds of training",
            show=lambda y: f"{y:.4g}",
        ),
        draw_curves(
            "training loss",
            series(lambda e: e["epoch"], "train_loss"),
            x_label="epoch",
            show=lambda y: f"{y:.4g}",
        ),
    ]
    names = legend((run["name"], hue(index)) for index, run in enumerate(runs))
    return section("Learning", f'{names}<div class="charts">{"".join(charts)}</div>')


def _timed(epochs: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    seconds = 0.0
    for epoch in epochs:
        seconds += epoch["seconds"]
        yield {**epoch, "since_start": round(seconds, 3)}
