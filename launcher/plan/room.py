"""Room for the trained network where the run is kept, looked for before any process starts."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from dni_async.errors import ConfigError
from dni_async.launcher.plan.plan import Plan

__all__ = ["check_room"]

SPARE_BYTES = 64 * 1024  # for figures, logs and the report


def check_room(plan: Plan, run_dir: Path) -> None:
    """Raises ConfigError where run_dir cannot hold what the run leaves in any case.

    That is the weights of the stages, and beside them the same once more as model.safetensors.
    """
    network = sum(each.size_bytes for each in plan.layers)
    needed, free = 2 * network + SPARE_BYTES, _free_bytes(run_dir)
    if free is not None and free < needed:
        raise ConfigError(
            f"run_dir: {run_dir} has room for {_size(free)}, and the trained network needs "
            f"{_size(needed)} there (the stages' weights, then these joined); make room, or take "
            "another folder by --run-dir"
        )
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and limit < network:
        raise ConfigError(
            f"run_dir: a file may have {_size(limit)} here, and model.safetensors has "
            f"{_size(network)}; raise the limit (ulimit -f)"
        )


def _free_bytes(run_dir: Path) -> int | None:
    """For this user, on the file system that run_dir is or will be on; None: it does not say."""
    place = run_dir.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        status = os.statvfs(place)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize if status.f_blocks else None


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MB" if count >= 2**20 else f"{count / 2**10:,.0f} KB"
