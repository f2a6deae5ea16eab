"""What it costs a run to be watched: curves, event files, the dashboard, the best checkpoint.

``python -m benchmarks.workloads.watching``. The same run with each of them and with none, in turn;
samples per second of each, over those of the run with none in the same round.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Final

import click

from benchmarks.harness.facts import Observation
from benchmarks.harness.report import (
    Measuring,
    benchmark_options,
    enter,
    make_console,
    print_facts,
    rotated,
    table,
    write,
)
from dni_async.config.run_config import RunConfig
from dni_async.launcher.report.comparison import NOT_COMPARABLE
from dni_async.training import train

__all__ = ["WATCHED", "main"]

NOTHING: Final = "nothing"
RUN: Final[dict[str, Any]] = {
    "batch_size": 256, "epochs": 50, "evaluate_every": 5, "baseline": False,
}  # fmt: skip
WATCHED: Final[dict[str, dict[str, Any]]] = {
    NOTHING: {"log_every": 0},
    "curves": {},
    "event files, a point an update": {"log_every": 1, "tensorboard": True},
    "dashboard, no page open": {"log_every": 0, "dashboard": True},
    "best checkpoint": {"log_every": 0, "keep_best": True},
    "mlflow and wandb": {"mlflow": "", "wandb": "benchmark"},
}
"""Settings by what they have done."""
PACKAGES: Final = {
    "event files, a point an update": ("tensorboard",),
    "dashboard, no page open": ("starlette", "uvicorn"),
    "mlflow and wandb": ("mlflow", "wandb"),
}


def is_there(name: str) -> bool:
    """Whether what it needs is installed."""
    return all(find_spec(package) is not None for package in PACKAGES.get(name, ()))


def rate(settings: dict[str, Any], folder: Path, *, quick: bool) -> float:
    """Samples per second of a run."""
    own = {"mlflow": str(folder / "mlflow")} if "mlflow" in settings else {}
    short = {"epochs": 1, "width": 32} if quick else {}
    config = RunConfig(**{**RUN, **settings, **own, **short})
    result = train(config=config, run_dir=folder / "run", overwrite=True, progress=False)
    return float(result.report["runs"][0]["samples_per_second"])


@click.command("workloads.watching")
@benchmark_options
def main(json_path: Path | None, repeats: int | None, quick: bool) -> None:
    """Samples per second of a run that is watched, over those of one that is not."""
    measuring = Measuring.of(json_path, repeats or (None if quick else 5), quick)
    console, observation = make_console(), Observation()
    names = [name for name in WATCHED if is_there(name)]
    rates: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="dni-bench-") as folder:
        for round_ in range(measuring.repeats):
            for name in rotated(names, round_):
                rates[name].append(rate(WATCHED[name], Path(folder), quick=quick))
            console.print(f"round {round_ + 1}: {rates[NOTHING][-1]:,.0f} samples/s unwatched")
            asked = {"repeats": measuring.repeats, "quick": quick, "run": RUN}
            write(measuring.json, "watching", observation.facts(), asked, {"rates": rates})
    facts = observation.facts()
    shown = table("samples/s over those of a run that nothing watches", ("watched by", "ratio"))
    for name in names:
        if name != NOTHING:
            ratio = _spread(rates[name], rates[NOTHING])
            shown.add_row(name, NOT_COMPARABLE if facts["not_comparable"] else ratio)
    console.print(shown)
    print_facts(console, facts)


def _spread(ours: Sequence[float], theirs: Sequence[float]) -> str:
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


if __name__ == "__main__":
    enter(main)
