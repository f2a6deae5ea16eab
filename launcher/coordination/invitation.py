"""How others join a run: the line to start them with, and the keys that it holds."""

from __future__ import annotations

from pathlib import Path

from dni_async.launcher.plan.plan import Plan
from dni_async.transport.keys import KeyRing, read_keys
from dni_async.transport.rings import INVITATION_VARIABLE, invitation_of, make_rings

__all__ = ["asking_to_join", "invitation_line", "rings_of"]


def rings_of(plan: Plan) -> tuple[KeyRing | None, KeyRing | None]:
    """The coordinator's keys and those of its workers; new ones, unless there is a folder of them.

    Of a folder the latter are read only where workers are started here. None where no socket needs
    any. Raises ConfigError.
    """
    if not plan.config.over_tcp:
        return None, None
    if plan.config.keys is None:
        return make_rings()
    folder = Path(plan.config.keys)
    worker = read_keys(folder, "worker") if "local" in plan.hosts else None
    return read_keys(folder, "coordinator"), worker


def invitation_line(plan: Plan, endpoint: str, ring: KeyRing | None) -> str:
    """What starts a worker on any host: with the run's own keys, or the name of their folder."""
    address = f"tcp://{plan.own_address}:{endpoint.rpartition(':')[2]}"
    line = f"dni-worker --join {address}"
    if plan.config.keys is not None:
        return f"{line} --keys {plan.config.keys}"
    assert ring is not None
    return f"{INVITATION_VARIABLE}={invitation_of(ring)} {line}"


def asking_to_join(plan: Plan, line: str) -> str:
    """What the user is told to do with that line."""
    num_remote = sum(map(plan.is_remote, range(plan.num_stages)))
    return f"waiting for {num_remote} workers; start each, on any host, with\n  {line}"
