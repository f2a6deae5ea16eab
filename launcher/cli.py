"""``dni-launch``: train a network with every layer in its own process, beside its baseline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from dni_async.config.meant import did_you_mean, did_you_mean_file
from dni_async.config.run_config import RunConfig, read_toml
from dni_async.config.settings import SETTINGS
from dni_async.errors import ConfigError, DniError, WorkerDied
from dni_async.files import names
from dni_async.launcher.commands.completion import complete_run_dirs
from dni_async.launcher.commands.demo import demo_command
from dni_async.launcher.commands.exits import exit_code_of
from dni_async.launcher.commands.keys import keys_command
from dni_async.launcher.commands.options import (
    CONTEXT,
    GOES_ON,
    RUN_GROUP,
    GroupedCommand,
    GroupedOption,
    as_settings,
    check_report,
    check_variables,
    gone_options,
    run_place,
    run_settings,
)
from dni_async.launcher.interruption import Interrupted
from dni_async.launcher.report.terminal.console import open_console
from dni_async.launcher.run_folder.trust import check_contents
from dni_async.system import output
from dni_async.wire.foreign_text import without_password

__all__ = ["command", "describe", "main"]

LISTS = tuple(each.name for each in SETTINGS.values() if each.is_list)  # written with commas
SUBCOMMANDS = {"demo": demo_command, "keys": keys_command}


def _read_file(ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Let the file's keys stand where neither a flag nor the environment speaks."""
    if path is not None:
        if not path.exists() and (hint := did_you_mean(str(path), SUBCOMMANDS)):
            raise ConfigError(f"{path}: there is no such file, nor a command of that name{hint}")
        values = read_toml(path)
        for name in LISTS:
            if name in values:
                values[name] = ",".join(values[name])
        ctx.default_map = {**(ctx.default_map or {}), **values}
    return path


def _read_run(ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Let the settings of an earlier run stand where neither a flag nor the environment speaks."""
    if path is not None and not (path / names.CONFIG).is_file():
        hint = did_you_mean_file(path) or "; dni-report FOLDER lists the runs that there are"
        raise ConfigError(f"resume: {path} holds no run{hint}")
    if path is not None:
        check_contents(path)
    _read_file(ctx, _param, None if path is None else path / names.CONFIG)
    return path


@click.command(cls=GroupedCommand, context_settings=CONTEXT)
@click.argument(
    "config_file",
    metavar="[CONFIG.toml]",
    required=False,
    is_eager=True,
    callback=_read_file,
    type=click.Path(path_type=Path),
)
@run_settings
@click.option(
    "--resume",
    cls=GroupedOption,
    group=RUN_GROUP,
    is_eager=True,
    callback=_read_run,
    type=click.Path(path_type=Path),
    shell_complete=complete_run_dirs,
    metavar="RUN_DIR",
    help="Go on with the run in RUN_DIR from its newest checkpoint, with its settings; stages, "
    "workers, devices, window, threads, transport, keys, epochs, restarts, checkpoints and what is "
    "compared or recorded may be set anew.",
)
@run_place(
    run_dir="Where the run is kept.  [default: runs/DATE-TIME]",
    overwrite="Replace the run that --run-dir holds.",
    report="Also write the report here.",
)
@gone_options
@click.version_option(package_name="dni-async")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    config_file: Path | None,
    resume: Path | None,
    run_dir: Path | None,
    overwrite: bool,
    report: Path | None,
    **settings: Any,
) -> int:
    """Train a network with one worker process per layer, then the same network by plain
    backpropagation in one process, and print both side by side.

    Every setting can also stand in CONFIG.toml under the same name (but --run-dir, --overwrite,
    --resume and --report, which say where one run goes) or in the environment as DNI_NAME. A flag
    wins over the environment, the environment over the file.

    'dni-launch demo' shows in a minute what this is for; 'dni-launch keys DIR' makes key pairs for
    --keys (a file of such a name is ./demo).
    """
    from dni_async.launcher.report.terminal.sentences import say
    from dni_async.launcher.report.terminal.tables import print_report
    from dni_async.launcher.run import run
    from dni_async.launcher.run_folder.folder import RunFolder

    check_variables()
    settings = as_settings(settings)
    if resume is not None and "remote" not in settings["workers"]:
        for name in ("listen", "keys"):  # were of remote workers
            is_old = ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP
            if is_old and settings["transport"] != "tcp":
                settings[name] = None
    config = RunConfig(**settings)
    if resume is not None and (config_file is not None or run_dir is not None or overwrite):
        raise ConfigError(
            "resume: goes on with a run where it is and with its settings; leave out CONFIG.toml, "
            "--run-dir and --overwrite"
        )
    check_report(report)
    output.carry_on(GOES_ON)
    console = open_console()
    say(console, describe(ctx, config_file))
    place = resume or run_dir
    folder = RunFolder.default() if place is None else RunFolder(place)
    try:
        done = run(
            config,
            folder,
            console,
            overwrite=overwrite,
            resume=resume is not None,
            report_copy=report,
        )
    except (Interrupted, WorkerDied):
        if folder.has_checkpoint:
            say(
                console,
                f"it goes on from its newest checkpoint by\n  dni-launch --resume {folder.path}",
            )
        raise
    print_report(done.report, console)
    say(console, f"run directory: {folder.path}")
    if done.failures:
        raise DniError("\n".join(done.failures))
    return 0


def describe(ctx: click.Context, config_file: Path | None) -> str:
    """The settings that are not defaults, each with where it comes from."""
    origins = {
        ParameterSource.COMMANDLINE: "flag",
        ParameterSource.ENVIRONMENT: "environment",
        ParameterSource.DEFAULT_MAP: str(config_file),
    }
    parts = []
    if ctx.params["resume"] is not None:  # what the run was is known; what is new is told
        del origins[ParameterSource.DEFAULT_MAP]
    for name, value in ctx.params.items():
        origin = ctx.get_parameter_source(name)
        if origin in origins and name != "config_file":
            said = without_password(str(value))
            parts.append(f"{name.replace('_', '-')} {said} ({origins[origin]})")
    return "settings: " + (", ".join(parts) or "all defaults")


def main() -> None:
    """The console script. Exit codes: 0 done, 2 usage, 75 nobody joined, 130 INT, 143 TERM, else
    the failed worker's.
    """
    sys.exit(exit_code_of(command, sys.argv[1:], "dni-launch", SUBCOMMANDS))


if __name__ == "__main__":
    main()
