"""Where a run listens, and by which keys: looked up and tried before any process starts."""

from __future__ import annotations

import os
import socket

from dni_async.addresses import address_towards, another_place, try_listening
from dni_async.config.meant import did_you_mean_file
from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.files.homes import own_path
from dni_async.transport.keys import read_keys
from dni_async.transport.rings import INVITATION_VARIABLE
from dni_async.transport.sockets import has_encryption

__all__ = ["control_address", "own_address", "resolve_keys"]


def own_address(config: RunConfig) -> str:
    """Where local workers listen beside remote ones: as --listen says, or on any address."""
    if config.listen_host != "0.0.0.0":
        return socket.gethostbyname(config.listen_host)
    try:
        return address_towards()
    except OSError:  # nowhere else
        return "127.0.0.1"


def control_address(config: RunConfig) -> str:
    """What --listen names, as a socket takes it."""
    host, port = config.listen_host, (config.listen or ":0").rpartition(":")[2]
    return f"tcp://{socket.gethostbyname(host)}:{port}"


def resolve_keys(config: RunConfig) -> str | None:
    """The folder of the keys, which whoever runs here can read, and an address that is ours.

    Raises ConfigError where a key cannot be read or the address cannot be listened on.
    """
    if config.over_tcp and not has_encryption():
        raise ConfigError(
            f"{'workers' if config.has_remote else 'transport'}: tcp needs a libzmq with CURVE, "
            "which this one is not; 'pip install pyzmq' brings one"
        )
    if config.listen is not None:
        port = int(config.listen.rpartition(":")[2])
        _try_address("listen", config.listen, config.listen_host, port)
    elif config.transport == "tcp":
        _try_address("interface", config.interface, config.interface, 0)
    if config.keys is None:
        _check_variables(config)
        return None
    folder = own_path(config.keys, setting="keys").resolve()
    if not folder.is_dir():
        hint = did_you_mean_file(folder)
        raise ConfigError(f"keys: {folder} is no folder{hint}; 'dni-launch keys DIR' makes one")
    read_keys(folder, "coordinator")
    if "local" in config.workers:
        read_keys(folder, "worker")
    return str(folder)


def _check_variables(config: RunConfig) -> None:
    """Raises ConfigError where somebody hands a launcher what it would make itself."""
    if config.has_remote and os.environ.get(INVITATION_VARIABLE):
        raise ConfigError(
            f"{INVITATION_VARIABLE} in the environment is for workers; the launcher takes --keys "
            "DIR, the folder that it was printed for"
        )


def _try_address(name: str, asked: str, host: str, port: int) -> None:
    try:
        try_listening(host, port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        remedy = another_place(getattr(error, "errno", None) or 0)
        raise ConfigError(
            f"{name}: {asked} cannot be listened on: {reason}; take {remedy}"
        ) from error
