"""``dni-report``: show a finished run again, and say what bounds it."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console

from dni_async.errors import ConfigError
from dni_async.launcher.commands.replay_events import replay_run
from dni_async.launcher.report.foreign_text import legible
from dni_async.launcher.report.html.page import build_page
from dni_async.launcher.report.reading import read_report
from dni_async.launcher.report.tables import print_diagnosis, print_report

__all__ = ["main"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Also write the report as one page that needs nothing else.",
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
    help="Serve at this port.  [default: a free one]",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Serve at this address of the machine; beyond loopback a token is asked for.",
)
@click.version_option(package_name="dni-async")
def main(
    run_dir: Path, html: Path | None, replays: bool, serves: bool, port: int, host: str
) -> None:
    """Show the report of RUN_DIR (a run directory or its report.json) and a diagnosis.

    With --replay: exit code 1 when a stage would decide otherwise now.
    """
    try:
        if serves:
            _serve(run_dir, host, port)
            return
        if replays:
            sys.exit(_show_replay(run_dir))
        report = read_report(run_dir)
        if html is not None:
            _write_page(html, build_page(report))
    except ConfigError as error:
        click.echo(f"Error: {legible(str(error))}", err=True)
        sys.exit(2)
    console = Console()
    print_report(report, console)
    print_diagnosis(report, console)
    if html is not None:
        console.print(f"page: {legible(str(html))}", highlight=False, markup=False, soft_wrap=True)


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
    click.echo(f"dashboard: {listener.url}")
    with suppress(KeyboardInterrupt):
        serve_runs(folder, listener)


def _show_replay(run_dir: Path) -> int:
    is_same = True
    for name, (count, divergence) in replay_run(run_dir).items():
        is_same = is_same and divergence is None
        said = f"{count:,} events, the same actions" if divergence is None else str(divergence)
        click.echo(legible(f"{name}: {said}"))
    return 0 if is_same else 1


def _write_page(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"html: {path}: cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    main()
