"""``dni-doctor``: is this host, and the way to other hosts, fit for a run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from dni_async.config.names import ModelTraits
from dni_async.config.run_config import RunConfig
from dni_async.launcher.commands.exits import exit_code_of
from dni_async.launcher.commands.options import gone_options
from dni_async.launcher.commands.telling import tell, tell_json
from dni_async.launcher.doctor.examination import Doctor, Question
from dni_async.launcher.doctor.finding import Finding, count, is_passed
from dni_async.launcher.doctor.link.access import find_access
from dni_async.launcher.doctor.link.reach import Address
from dni_async.launcher.doctor.show import show, to_json
from dni_async.launcher.report.terminal.console import open_console

__all__ = ["main"]

EXIT_BAD = 1
DEFAULTS = RunConfig()


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--listen",
    multiple=True,
    metavar="tcp://HOST:PORT",
    help="Also try whether this address can be listened on; may be given several times.",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="tcp://HOST:PORT",
    help="Also measure the link to the dni-doctor that serves there; may be given several times.",
)
@click.option(
    "--serve",
    metavar="tcp://HOST:PORT",
    help="Afterwards answer the doctors of other hosts.",
)
@click.option(
    "--silence-s",
    type=click.FloatRange(min=1),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="With --serve: end when nobody has asked anything for so many seconds.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=60),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the links are measured, all together.",
)
@click.option(
    "--width",
    type=click.IntRange(min=1, max=2**16),
    default=ModelTraits().width,
    show_default=True,
    metavar="UNITS",
    help="Of the layers that the links are to carry.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1, max=2**16),
    default=DEFAULTS.batch_size,
    show_default=True,
    metavar="SAMPLES",
    help="Samples of a batch.",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The keys of both ends, made by 'dni-launch keys DIR'.  [default: those of an invitation]",
)
@gone_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.version_option(package_name="dni-async")
def command(
    listen: tuple[str, ...],
    peers: tuple[str, ...],
    serve: str | None,
    silence_s: float,
    seconds: float,
    width: int,
    batch_size: int,
    keys: Path | None,
    as_json: bool,
) -> int:
    """Find what would keep a run of dni-async from working well here, and say what to do.

    To measure the link between two hosts, run --serve on one, and on the other the line that it
    prints; or --peer there, and a copy of the same --keys DIR at both.

    Exit code 0 when nothing is bad, else 1.
    """
    visited = [Address.parse(text, is_ours=False) for text in peers]
    served = None if serve is None else Address.parse(serve, is_ours=True)
    question = Question(
        listen=[Address.parse(text, is_ours=True) for text in listen],
        peers=visited,
        serve=served,
        access=find_access(keys, os.environ, visits=bool(visited), serves=served is not None),
        seconds=seconds,
        silence_s=silence_s,
        width=width,
        batch_size=batch_size,
    )
    console = open_console()

    def found(finding: Finding) -> None:
        if not as_json:
            show(console, finding)

    def note(text: str) -> None:
        tell(text, to_stderr=as_json)

    doctor = Doctor(question, found, note)
    doctor.examine()
    if not as_json:
        note(count(doctor.findings))
    if served is not None and doctor.may_serve:
        doctor.serve()
    if as_json:
        tell_json(to_json(doctor.findings, doctor.links))
    return 0 if is_passed(doctor.findings) else EXIT_BAD


def main() -> None:
    """The console script. Exit codes: 0 nothing bad, 1 something is, 2 usage, 130 INT, 143 TERM."""
    sys.exit(exit_code_of(command, sys.argv[1:], "dni-doctor"))


if __name__ == "__main__":
    main()
