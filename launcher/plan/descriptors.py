"""File descriptors enough for a run, seen to before any process starts."""

from __future__ import annotations

import os
import resource

from dni_async.errors import ConfigError

__all__ = ["allow_descriptors"]

SPARE = 64  # for files, ZeroMQ's own, and connections of workers that are replaced
PER_STAGE = 2


def allow_descriptors(num_stages: int) -> None:
    """Raise this process's limit, which its workers inherit, to what so many stages may need.

    ZeroMQ ends a process that has none left for a connection, so it must not come to that. Raises
    ConfigError where the system allows fewer.
    """
    needed = _num_open() + SPARE + PER_STAGE * num_stages
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _allows(soft, needed):
        return
    if not _allows(hard, needed):
        raise ConfigError(
            f"stages: {num_stages} of them need {needed} open files, but {hard} are allowed; raise "
            "the limit (ulimit -n) or group the layers into fewer stages"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _allows(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed


def _num_open() -> int:
    """How many this process has; 0 where the system does not say."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
