"""``dni-launch keys``: make the key pairs of a run that leaves the host."""

from __future__ import annotations

from pathlib import Path

import click

from dni_async.launcher.commands.telling import tell
from dni_async.transport.keys import write_keys
from dni_async.transport.sockets import make_key_pair

__all__ = ["keys_command"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def keys_command(folder: Path) -> None:
    """Make DIR (it must not exist) with a key pair for the coordinator and one for the workers.

    Then run with --keys DIR. The files *.secret are as good as passwords: whoever has one can take
    part in a run. Only the public keys in DIR/allowed may connect.
    """
    write_keys(folder, coordinator=make_key_pair(), worker=make_key_pair())
    tell(f"keys: {folder}; use them with --keys {folder}")
