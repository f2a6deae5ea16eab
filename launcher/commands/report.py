"""``dni-report``: show a finished run again, say what bounds it, list runs and compare them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from dni_async.errors import ConfigError
from dni_async.files import names
from dni_async.launcher.commands.completion import complete_run_dirs
from dni_async.launcher.commands.exits import exit_code_of
from dni_async.launcher.commands.replay_events import replay_run
from dni_async.launcher.commands.telling import tell, tell_json
from dni_async.launcher.interruption import Interrupted
from dni_async.launcher.report.html.page import build_page
from dni_async.launcher.report.html.picture import draw_picture, excerpt_of
from dni_async.launcher.report.reading import read_report
from dni_async.launcher.report.shelf.comparing import compare
from dni_async.launcher.report.shelf.listing import is_run, list_runs
from dni_async.launcher.report.shelf.naming import named
from dni_async.launcher.report.shelf.printing import WIDE, print_comparison, print_listing
from dni_async.launcher.report.terminal.console import open_console
from dni_async.launcher.report.terminal.tables import print_diagnosis, print_report
from dni_async.launcher.run_folder.unreported import said_of_unreported

__all__ = ["main"]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument(
    "paths",
    metavar="RUN_DIR...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    shell_complete=complete_run_dirs,
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value instead of tables.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Also write the report of one run as one page that needs nothing else.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.svg",
    help="Also draw a part of the trace of a run with --profile, and the same work in lockstep.",
)
@click.option(
    "--replay",
    "replays",
    is_flag=True,
    help="Take the decisions of --record-events again, and compare; nothing else.",
)
@click.option(
    "--serve",
    "serves",
    is_flag=True,
    help="Show RUN_DIR, a run directory or a folder of them, in a browser until Ctrl-C.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 2**16 - 1),
    default=0,
    metavar="PORT",
    help="Serve at this port.  [default: a free one]",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Serve at this address of the machine; beyond loopback a token is asked for.",
)
@click.version_option(package_name="dni-async")
def command(
    paths: tuple[Path, ...],
    as_json: bool,
    html: Path | None,
    picture: Path | None,
    replays: bool,
    serves: bool,
    port: int,
    host: str,
) -> int:
    """Show the report of RUN_DIR (a run directory or its report.json) and a diagnosis.

    Several are compared: what came of each, which settings differ, and what may be compared. Of a
    folder of runs there is a list, the newest first.

    With --replay: exit code 1 when a stage would decide otherwise now.
    """
    drawn = {"html": html is not None, "picture": picture is not None}
    if len(paths) > 1:
        _check_alone({**drawn, "replay": replays, "serve": serves})
        _compare(paths, as_json=as_json)
        return 0
    (path,) = paths
    if serves or replays:
        _check_drawn("serve" if serves else "replay", drawn)
    if serves:
        _serve(path, host, port)
    elif replays:
        return _show_replay(path)
    elif path.is_dir() and not is_run(path):
        _check_alone(drawn)
        _list(path, as_json=as_json)
    else:
        _show(path, html, picture, as_json=as_json)
    return 0


def _check_alone(asked: dict[str, bool]) -> None:
    """Raises ConfigError for what can be asked for of one run alone."""
    for name, is_asked in asked.items():
        if is_asked:
            raise ConfigError(f"{name}: is for one run; name a single run directory")


def _check_drawn(option: str, drawn: dict[str, bool]) -> None:
    """Raises ConfigError for a file that would not be written."""
    for name, is_asked in drawn.items():
        if is_asked:
            raise ConfigError(f"{name}: is not written with --{option}; leave one of them out")


def _show(path: Path, html: Path | None, picture: Path | None, *, as_json: bool) -> None:
    """The report of one run."""
    report = _read(path)
    folder = path if path.is_dir() else path.parent
    if picture is not None:
        _write("picture", picture, draw_picture(folder, report))
    if html is not None:
        _write("html", html, build_page(report, excerpt_of(folder, report)))
    if as_json:
        tell_json(report)
        return
    console = open_console()
    print_report(report, console)
    print_diagnosis(report, console)
    for name, file in (("page", html), ("picture", picture)):
        if file is not None:
            console.print(f"{name}: {file}", soft_wrap=True)


def _read(path: Path) -> dict[str, Any]:
    """The report of a run. Raises ConfigError, which of one without a report says what there is."""
    folder = path.parent if path.name == names.REPORT else path
    if (folder / names.CONFIG).is_file() and not (folder / names.REPORT).exists():
        raise ConfigError(said_of_unreported(folder))
    return read_report(path)


def _compare(paths: tuple[Path, ...], *, as_json: bool) -> None:
    """Several reports side by side; what has none is named and passed over."""
    found, faults = [], []
    for path in paths:
        try:
            if path.is_dir() and not is_run(path):
                raise ConfigError(f"{path}: holds no run")
            found.append((path, _read(path)))
        except ConfigError as error:
            faults.append(str(error))
    if len(found) < 2:
        raise ConfigError("; ".join([*faults, "there are fewer than two runs to compare"]))
    names = named([path for path, _ in found])
    compared = compare([(name, report) for name, (_, report) in zip(names, found, strict=True)])
    if as_json:
        tell_json(compared | {"passed_over": faults})
        return
    print_comparison(compared, _console())
    for fault in faults:
        tell(f"passed over: {fault}")


def _list(folder: Path, *, as_json: bool) -> None:
    """The runs in a folder, if there are any."""
    listing = list_runs(folder)
    if not listing.rows:
        raise ConfigError("; ".join([f"{folder}: holds no run", *listing.passed_over]))
    if as_json:
        tell_json({"runs": listing.rows, "passed_over": listing.passed_over})
        return
    print_listing(listing, _console())


def _console() -> Console:
    """Where tables go; lines are as long as they get where no terminal bounds them."""
    console = open_console()
    return console if console.is_terminal or "COLUMNS" in os.environ else open_console(width=WIDE)


def _serve(folder: Path, host: str, port: int) -> None:
    """Serve the runs in folder until Ctrl-C, or a signal, ends it."""
    if not folder.is_dir():
        raise ConfigError(f"serve: {folder} is no folder; name a run directory or a folder of them")
    try:
        from dni_async.launcher.dashboard.server import Listener, serve_runs
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in (
            "starlette",
            "uvicorn",
            "anyio",
        ):
            raise
        raise ConfigError(
            "serve: needs a package that is not installed here; pip install 'dni-async[dashboard]'"
        ) from error
    listener = Listener(host, port, setting="port")
    tell(f"dashboard: {listener.url}")
    try:
        serve_runs(folder, listener)
    except Interrupted as interrupted:
        if interrupted.exit_code != 128 + signal.SIGINT:  # which is how it is meant to end
            raise


def _show_replay(run_dir: Path) -> int:
    is_same = True
    for name, (count, divergence) in replay_run(run_dir).items():
        is_same = is_same and divergence is None
        said = f"{count:,} events, the same actions" if divergence is None else str(divergence)
        tell(f"{name}: {said}")
    return 0 if is_same else 1


def _write(option: str, path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{option}: {path}: cannot be written: {error.strerror}") from error


def main() -> None:
    """The console script. Exit codes: 0 done, 1 a replay differs, 2 usage, 130 INT, 143 TERM."""
    sys.exit(exit_code_of(command, sys.argv[1:], "dni-report"))


if __name__ == "__main__":
    main()
