"""``dni-report``: show a finished run again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console

from dni_async.errors import ConfigError
from launcher.report import print_report, read_report

__all__ = ["main"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print report.json itself.")
@click.version_option(package_name="dni-async")
def main(run_dir: Path, as_json: bool) -> None:
    """Show the report of RUN_DIR (a run directory or its report.json)."""
    try:
        report = read_report(run_dir)
    except ConfigError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps(report, indent=1))
    else:
        print_report(report, Console())


if __name__ == "__main__":
    main()
