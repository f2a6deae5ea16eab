"""``dni-launch keys``: key pairs for whoever starts both sides of a run at once."""

from __future__ import annotations

from pathlib import Path

import click

from dni_async.launcher.commands.telling import tell
from dni_async.transport.keys import read_keys, write_keys
from dni_async.transport.rings import INVITATION_VARIABLE, invitation_of, make_key_pair

__all__ = ["keys_command"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--invitation",
    "is_asked",
    is_flag=True,
    help=f"Print what {INVITATION_VARIABLE} must be for workers that cannot have a copy of DIR; "
    "DIR may be there already.",
)
def keys_command(folder: Path, is_asked: bool) -> None:
    """Make DIR (it must not exist) with a key pair for the coordinator and one for the workers.

    Then run with --keys DIR. The files *.secret are as good as passwords, and so is an invitation:
    whoever has one can take part in a run. Only the public keys in DIR/allowed may connect. A run
    without --keys has keys of its own.
    """
    if not (is_asked and folder.is_dir()):
        write_keys(folder, coordinator=make_key_pair(), worker=make_key_pair())
    if is_asked:
        tell(invitation_of(read_keys(folder, "worker")))
    else:
        tell(f"keys: {folder}; use them with --keys {folder}")
