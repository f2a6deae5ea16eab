"""What every benchmark command takes, prints and writes."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.harness.facts import Spread
from dni_async.errors import ConfigError, DniError
from dni_async.files.writing import whole
from dni_async.launcher.interruption import Interrupted, interruptible
from dni_async.launcher.report.comparison import NOT_COMPARABLE

__all__ = [
    "Measuring",
    "benchmark_options",
    "enter",
    "make_console",
    "numbers",
    "print_facts",
    "print_reason",
    "rotated",
    "table",
    "verdict",
    "write",
]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
SCHEMA = 1
QUICK_REPEATS = 1
WIDTH = 120
NOISY_LOAD, NOISY_STEAL = 0.25, 0.02  # of a core each; a share of all time


@dataclass(frozen=True, slots=True)
class Measuring:
    """How thoroughly to measure and where to write it."""

    json: Path | None
    repeats: int
    quick: bool

    @classmethod
    def of(cls, json_path: Path | None, repeats: int | None, quick: bool) -> Measuring:
        """From a command's options; repeats that were asked for hold even when quick.

        Raises ConfigError if the JSON could not be written in the end.
        """
        if json_path is not None and not json_path.absolute().parent.is_dir():
            raise ConfigError(f"json: the folder {json_path.absolute().parent} does not exist")
        return cls(json_path, repeats or (QUICK_REPEATS if quick else 5), quick)


def benchmark_options(command: F) -> F:
    """--json, --repeats and --quick, as json_path, repeats and quick."""
    for option in (
        click.option("--quick", is_flag=True, help="Tiny sizes, once: does it run at all?"),
        click.option(
            "--repeats",
            type=click.IntRange(min=1),
            help="Rounds over all that is compared.  [default: 5; with --quick 1]",
        ),
        click.option(
            "--json",
            "json_path",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Write all measurements here.",
        ),
    ):
        command = option(command)
    return command


def enter(command: click.Command) -> None:
    """Run a benchmark; a signal unwinds it, so that no process and no folder is left."""
    try:
        with interruptible():
            command.main(prog_name=f"python -m benchmarks.{command.name}")
    except Interrupted as error:
        click.echo(f"{command.name}: ended by {error}", err=True)
        sys.exit(error.exit_code)
    except DniError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)


def numbers(text: str) -> list[int]:
    """``256,1024`` as [256, 1024]. Raises click.BadParameter."""
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} is no list of numbers like 64,256") from None
    if min(values) < 1:
        raise click.BadParameter(f"{text!r}: all must be at least 1")
    return values


def rotated(arms: Sequence[T], number: int) -> list[T]:
    """arms, each round beginning with the next one: no arm always runs behind the same other."""
    start = number % len(arms)
    return [*arms[start:], *arms[:start]]


def write(
    path: Path | None,
    benchmark: str,
    machine: Mapping[str, Any],
    settings: Mapping[str, Any],
    results: Mapping[str, Any],
) -> None:
    """All of a benchmark as JSON, whole or not at all; nothing without a path."""
    if path is None:
        return
    document = {
        "schema": SCHEMA,
        "benchmark": benchmark,
        "machine": dict(machine),
        # Where the data lies is the machine's affair and says nothing about the run.
        "settings": {name: value for name, value in settings.items() if name != "data_dir"},
        **results,
    }
    with whole(path) as part:
        part.write_text(json.dumps(_finite(document), indent=1) + "\n", encoding="utf-8")


def print_facts(console: Console, facts: Mapping[str, Any]) -> None:
    """The machine in two lines, below the tables it explains."""
    steal, busy = facts["steal_share"], facts["busy_share"]
    quiet = "" if steal is None else f", {steal:.1%} of the cores' time stolen, {busy:.0%} used"
    console.print(
        f"{facts['cores']} cores, {facts['processor']}; torch {facts['torch']}, "
        f"pyzmq {facts['pyzmq']}, Python {facts['python']}\n"
        f"{facts['date']}, {facts['seconds']:.0f} s; load {facts['load_start'][0]} at the start, "
        f"{facts['load_end'][0]} at the end{quiet}",
        highlight=False,
        soft_wrap=True,
    )
    if facts["not_comparable"]:
        print_reason(console, facts["not_comparable"])
    elif facts["load_start"][0] > NOISY_LOAD * facts["cores"] or (steal or 0.0) > NOISY_STEAL:
        console.print("the machine was not quiet: compare ratios, not seconds", highlight=False)


def print_reason(console: Console, not_comparable: str | None) -> None:
    """Why there are no ratios, if there are none."""
    if not_comparable:
        console.print(f"{NOT_COMPARABLE}: {not_comparable}", highlight=False, soft_wrap=True)


def make_console() -> Console:
    """Wide enough for every table where no terminal says how wide it is: no word is cut off."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, WIDTH))


def table(title: str, columns: Sequence[str]) -> Table:
    """The first column to the left, all others to the right, no line broken."""
    made = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for index, name in enumerate(columns):
        made.add_column(name, justify="right" if index else "left", no_wrap=True)
    return made


def verdict(factor: Spread, not_comparable: str | None) -> str:
    """How ours compares: the median ratio, its range over the rounds, and the word for it.

    not_comparable: of the machine's facts; where that is a reason, there is no ratio.
    """
    if not_comparable:
        return NOT_COMPARABLE
    word = "faster" if factor.median >= 1 else "SLOWER"
    several = f" ({factor.least:.2f}-{factor.most:.2f})" if len(factor.values) > 1 else ""
    return f"{factor.median:.2f}x{several} {word}"


def _finite(value: Any) -> Any:
    """JSON has no infinity: None instead."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
