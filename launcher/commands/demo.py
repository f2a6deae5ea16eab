"""``dni-launch demo``: show in a minute what this program is for, on this machine."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.launcher.commands.options import (
    CONTEXT,
    GOES_ON,
    GroupedCommand,
    as_settings,
    check_report,
    check_variables,
    run_place,
    run_settings,
)
from dni_async.launcher.report.terminal.console import open_console
from dni_async.launcher.report.terminal.sentences import say
from dni_async.system import output

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["demo_command"]

RUN_DIR: Final = Path("runs/demo")
FIRST_ACT_S: Final = 35.0  # of about 20 that it takes; the second takes about ten
NOT_SIZED: Final = ("model", "data")  # asked for, they say themselves how large all is


@click.command(cls=GroupedCommand, context_settings=CONTEXT)
@run_settings
@run_place(
    run_dir="Where the first act is kept; the second beside it, as RUN_DIR-kill.  "
    f"[default: {RUN_DIR}, anew each time]",
    overwrite="Replace the runs that --run-dir names.",
    report="Also write the first act's report here.",
)
@click.pass_context
def demo_command(
    ctx: click.Context,
    /,
    run_dir: Path | None,
    overwrite: bool,
    report: Path | None,
    **settings: Any,
) -> int:
    """Train a network with a process for each layer beside plain backpropagation, say what was
    seen, then kill a worker and show it back at work. Under a minute, with what is installed.

    How large it is follows from the cores, the memory and the speed of this machine: layers,
    width, epochs, batch size, norm and how often it is tested, whatever their defaults elsewhere,
    which stand below. All settings of a run may be given; they win over that.
    """
    began = time.monotonic()
    output.carry_on(GOES_ON)
    console = open_console()
    check_variables()
    settings = as_settings(settings)
    check_report(report)
    _check(settings)
    config = RunConfig(**_with_size(ctx, settings, console))
    place, is_free = run_dir or RUN_DIR, overwrite or run_dir is None
    _show(config, place, console, overwrite=is_free, copy=report, ends_at=began + FIRST_ACT_S)
    _print_end(place, console, time.monotonic() - began)
    return 0


def _with_size(ctx: click.Context, settings: dict[str, Any], console: Console) -> dict[str, Any]:
    """The settings, with the size that fits this machine where nothing else was asked for."""
    from dni_async.launcher.commands.demonstration.pace import measure_machine
    from dni_async.launcher.commands.demonstration.sizing import sized
    from dni_async.launcher.commands.demonstration.words import introduction

    asked = [
        name for name in settings if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
    ]
    if set(NOT_SIZED) & set(asked):
        return settings
    machine = measure_machine()
    size = sized(machine).settings()
    whole = settings | {name: value for name, value in size.items() if name not in asked}
    say(console, introduction(machine, whole, [f"{name} {whole[name]}" for name in asked]))
    return whole


def _show(
    config: RunConfig,
    place: Path,
    console: Console,
    *,
    overwrite: bool,
    copy: Path | None,
    ends_at: float,
) -> None:
    """Both acts."""
    from dni_async.launcher.commands.demonstration.acts import first_act, second_act

    report = first_act(config, place, console, overwrite=overwrite, copy=copy, ends_at=ends_at)
    second = place.with_name(f"{place.name}-kill")
    ours = report["runs"][0]
    second_act(
        config,
        second,
        console,
        overwrite=overwrite,
        num_stages=ours["num_workers"],
        train_s=ours["train_seconds"],
    )


def _print_end(place: Path, console: Console, seconds: float) -> None:
    """How long it took, and what to do next."""
    from dni_async.launcher.commands.demonstration.words import next_commands

    say(console, f"\n{seconds:.0f} s in all. To go on:")
    commands = next_commands(place, bin_dir=_bin_dir(), has_examples=_has_examples())
    longest = max(len(command) for command, _ in commands)
    for command, purpose in commands:
        say(console, f"  {command:<{longest}}  # {purpose}")


def _check(settings: dict[str, Any]) -> None:
    """Raises ConfigError for what the demo cannot show."""
    if "remote" in settings["workers"]:
        raise ConfigError("workers: the demo kills a process of this host; leave out remote")
    if settings["engine"] == "ray":
        raise ConfigError("engine: the demo kills a process of this host; leave out ray")


def _bin_dir() -> str:
    """What must stand before the names of commands here; empty where the shell finds them."""
    own = Path(sys.argv[0]).absolute().parent
    found = shutil.which("dni-launch")
    if (found is not None and Path(found).parent == own) or not (own / "dni-launch").exists():
        return ""
    return f"{os.path.relpath(own)}/"


def _has_examples() -> bool:
    return Path("examples/own_data.py").is_file()
