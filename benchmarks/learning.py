"""Test errors of every rule beside backpropagation's and the published ones.

``python -m benchmarks.learning``. Whole asynchronous runs as ``dni-launch`` makes them; the same
network by backpropagation in one process, the same epochs, batches, optimizer and schedule; and,
for some rows, the same rule in order in one process, where nothing is stale. Over several seeds. A
row that misses its target is printed as a miss.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import click
from rich.console import Console

from benchmarks.harness.facts import Observation
from benchmarks.harness.report import (
    Measuring,
    benchmark_options,
    enter,
    make_console,
    print_facts,
    table,
    write,
)
from benchmarks.rivals.arms import Trained, train_arm
from benchmarks.rivals.reference import train_in_order
from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError

__all__ = ["main"]

BACKPROP = "baseline-1-thread"  # as accurate, and other load does not stop it
DEFAULTS = RunConfig().to_dict()
QUICK = {"data": "digits", "data_dir": None, "epochs": 1, "batch_size": 64}


@dataclass(frozen=True, slots=True)
class Row:
    """One network and rule. Errors in percent.

    published: the error in the paper's table. behind: how far it may be behind backpropagation.
    most: the error that it may have. most_loss: the test loss that it may have, over
    backpropagation's. in_order: whether it is also run in order. is_text: on the characters of
    examples/transformer.py, not on the data asked for.
    """

    name: str
    settings: dict[str, Any]
    published: float | None = None
    behind: float | None = None
    most: float | None = None
    most_loss: float | None = None
    in_order: bool = False
    is_text: bool = False


BATCH_NORM = {"norm": "batch", "epochs": 15}
PAPER = {**BATCH_NORM, "targets": "bootstrap", "synthesizer": "linear"}  # cDNI on its FCN
CNN = {"model": "cnn", "layers": 3, "width": 16, "norm": "batch", "epochs": 5}
TRANSFORMER = {"model": "transformer:model", "stages": 4, "batch_size": 32, "epochs": 5}
COPIES = {"synthesizer": "copy", "synthesizer_layers": 1}
DEEP_CRITIC = {"synthesizer_layers": 1, "synthesizer_width": 256}  # 4 x the activation's
ROWS = (
    Row("default, 4 x 256 BN", BATCH_NORM, behind=0.15, in_order=True),
    Row("cDNI, 3 layers", {**PAPER, "layers": 3}, published=2.2, most=2.2),
    Row("cDNI, 4 layers", {**PAPER, "layers": 4}, published=1.9, most=1.9, in_order=True),
    Row("cDNI, 5 layers", {**PAPER, "layers": 5}, published=1.7, most=1.9),
    Row("cDNI, 6 layers", {**PAPER, "layers": 6}, published=1.6, most=1.9),
    Row("default, 8 x 256 BN", {**BATCH_NORM, "layers": 8}, behind=0.3, most=3.0, in_order=True),
    Row("default, 21 x 256 BN", {**BATCH_NORM, "layers": 21}, behind=0.3, most=3.0),
    Row("default, 4 x 1024", {"width": 1024, "epochs": 10}, behind=0.2, in_order=True),
    Row("cDNI, p = 0.2", {**PAPER, "update_probability": 0.2}, most=2.2),
    Row("complete unlock, cDNI", {**PAPER, "unlock": "forward"}, published=2.0, most=3.0),
    Row("complete unlock, default", {**BATCH_NORM, "unlock": "forward"}, most=3.0),
    Row("fdg, 4 x 256 BN", {**BATCH_NORM, "rule": "fdg"}, behind=0.1, in_order=True),
    Row("dgl, 4 x 256 BN", {**BATCH_NORM, "rule": "dgl"}),
    Row("no-bprop, 4 x 256 BN", {**BATCH_NORM, "rule": "no-bprop"}, published=12.6),
    Row("CNN, 3 layers", CNN, behind=0.2),
    Row("transformer, default", TRANSFORMER, most_loss=1.05, is_text=True),
    Row("transformer, copies of a block", TRANSFORMER | COPIES, most_loss=1.0, is_text=True),
    Row("transformer, deep critic", TRANSFORMER | DEEP_CRITIC, most_loss=1.05, is_text=True),
)
# What a rule does, and backpropagation does not.
RULE_SETTINGS = (
    "rule",
    "targets",
    "anchor_every",
    "late_gradients",
    "synthesizer",
    "synthesizer_lr",
    "synthesizer_layers",
    "synthesizer_width",
    "update_probability",
    "unlock",
    "window",
    "stages",
)


@dataclass(slots=True)
class Outcome:
    """A row's errors in percent, by seed."""

    row: Row
    config: RunConfig
    ours: list[float] = field(default_factory=list)
    backprop: list[float] = field(default_factory=list)
    in_order: list[float] = field(default_factory=list)
    our_losses: list[float] = field(default_factory=list)
    backprop_losses: list[float] = field(default_factory=list)

    @property
    def verdicts(self) -> list[str]:
        """What was asked of the row, each with met or MISSED."""
        said = []
        if self.row.behind is not None:
            limit = fmean(self.backprop) + self.row.behind
            said.append(f"backprop + {self.row.behind:g}: {_word(fmean(self.ours) <= limit)}")
        if self.row.most is not None:
            said.append(f"{self.row.most:g}: {_word(fmean(self.ours) <= self.row.most)}")
        if self.row.most_loss is not None:
            ratio = fmean(self.our_losses) / fmean(self.backprop_losses)
            is_met = ratio <= self.row.most_loss
            said.append(f"loss {ratio:.3f}x, {self.row.most_loss:g}: {_word(is_met)}")
        return said

    def to_dict(self) -> dict[str, Any]:
        """As the JSON shows it."""
        return {
            "name": self.row.name,
            "config": self.config.to_dict()
            | {"data_dir": None, "data": Path(self.config.data).name},
            "published": self.row.published,
            "errors": self.ours,
            "backprop_errors": self.backprop,
            "in_order_errors": self.in_order,
            "losses": self.our_losses,
            "backprop_losses": self.backprop_losses,
            "verdicts": self.verdicts,
        }


@click.command("learning")
@benchmark_options
@click.option(
    "--rows", "names", help="Names or parts of names, between semicolons.  [default: all]"
)
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), help="Of every row.  [default: its own]")
@click.option("--lr-schedule", default="cosine", show_default=True, help="Of every arm.")
@click.option("--data", default="mnist", show_default=True)
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path))
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    names: str | None,
    batch_size: int,
    epochs: int | None,
    lr_schedule: str,
    data: str,
    data_dir: Path | None,
) -> None:
    """Test errors of the rules beside backpropagation's, mean and spread over seeds."""
    measuring = Measuring.of(json_path, repeats or (None if quick else 3), quick)
    console = make_console()
    observation = Observation()
    asked: dict[str, Any] = {"data": data, "batch_size": batch_size, "lr_schedule": lr_schedule}
    asked |= {"width": 256, "norm": "none"}  # where a row says nothing else
    asked["data_dir"] = None if data_dir is None else str(data_dir)
    with _text_data() as text:
        outcomes = []
        for row in _chosen(names):
            settings = asked | row.settings | (QUICK if quick else {})
            if epochs is not None:
                settings["epochs"] = epochs
            if row.is_text:
                settings |= {"data": text}
            outcomes.append(Outcome(row, RunConfig(baseline=False, devices=("cpu",), **settings)))
        known: dict[RunConfig, Trained] = {}
        for seed in range(measuring.repeats):
            for outcome in outcomes:
                _measure(outcome, seed, known)
                console.print(f"seed {seed}, {outcome.row.name}: {_said(outcome)}", highlight=False)
                write(
                    measuring.json,
                    "learning",
                    observation.facts(),
                    asked | {"repeats": measuring.repeats, "quick": quick},
                    {"rows": [each.to_dict() for each in outcomes if each.ours]},
                )
    _print(console, outcomes)
    print_facts(console, observation.facts())


def _measure(outcome: Outcome, seed: int, known: dict[RunConfig, Trained]) -> None:
    """One seed of a row. known: backpropagation's runs, which rows of one network share."""
    config = dataclasses.replace(outcome.config, seed=seed)
    ours = train_arm("dni", config)
    network = dataclasses.replace(config, **{name: DEFAULTS[name] for name in RULE_SETTINGS})
    if network not in known:
        known[network] = train_arm(BACKPROP, network)
    outcome.ours.append(_error(ours))
    outcome.our_losses.append(_loss(ours))
    outcome.backprop.append(_error(known[network]))
    outcome.backprop_losses.append(_loss(known[network]))
    if outcome.row.in_order:
        outcome.in_order.append(round(100 * (1 - train_in_order(config)), 6))


@contextmanager
def _text_data() -> Iterator[str]:
    """A file of the transformer's characters; the example is on the path of every process."""
    examples = str(Path(__file__).resolve().parents[1] / "examples")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{examples}{os.pathsep}{before}" if before else examples
    sys.path.append(examples)
    try:
        with tempfile.TemporaryDirectory(prefix="dni-bench-") as folder:
            path = Path(folder) / "characters.npz"
            importlib.import_module("transformer").write_data(path)
            yield str(path)
    finally:
        sys.path.remove(examples)
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _said(outcome: Outcome) -> str:
    return f"{outcome.ours[-1]:.2f} %, backprop {outcome.backprop[-1]:.2f} %"


def _loss(trained: Trained) -> float:
    loss = trained.epochs[-1].test_loss
    assert loss is not None
    return loss


def _error(trained: Trained) -> float:
    return round(100 * (1 - trained.epochs[-1].test_metrics["accuracy"]), 6)


def _chosen(names: str | None) -> list[Row]:
    if names is None:
        return list(ROWS)
    parts = names.split(";")
    chosen = [row for row in ROWS if any(part.strip() in row.name for part in parts)]
    if not chosen:
        raise ConfigError(f"rows: none is called {names!r}; {'; '.join(row.name for row in ROWS)}")
    return chosen


def _print(console: Console, outcomes: Sequence[Outcome]) -> None:
    made = table(
        "test error in %, mean and spread over seeds",
        ["row", "epochs", "error", "backprop", "difference", "in order", "published", "target"],
    )
    for outcome in outcomes:
        row = outcome.row
        made.add_row(
            row.name,
            str(outcome.config.epochs),
            _errors(outcome.ours),
            _errors(outcome.backprop),
            f"{fmean(outcome.ours) - fmean(outcome.backprop):+.2f}",
            _errors(outcome.in_order) if outcome.in_order else "",
            "" if row.published is None else f"{row.published:.1f}",
            "; ".join(outcome.verdicts),
        )
    console.print(made)


def _errors(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{spread}"


def _word(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


if __name__ == "__main__":
    enter(main)
