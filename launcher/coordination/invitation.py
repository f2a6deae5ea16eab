"""How others join a run: its id, and the line to start them with."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from dni_async.errors import ConfigError
from dni_async.launcher.plan.plan import Plan
from dni_async.transport.gate import RUN_ID_VARIABLE

__all__ = ["choose_run_id", "invitation"]


def choose_run_id(environment: Mapping[str, str]) -> str:
    """A new one, or the one that the environment gives all members of the run.

    Without keys it is their password. Raises ConfigError for one that could be guessed.
    """
    given = environment.get(RUN_ID_VARIABLE, "")
    if not given:
        return secrets.token_hex(8)
    if not re.fullmatch(r"[A-Za-z0-9_-]{16,64}", given):
        raise ConfigError(f"{RUN_ID_VARIABLE}: must be 16 to 64 letters, digits, - and _")
    return given


def invitation(plan: Plan, endpoint: str, run_id: str) -> str:
    """What to start on other hosts; the id is named only where it is needed."""
    port = endpoint.rpartition(":")[2]
    address = f"tcp://{plan.own_address}:{port}"
    config = plan.config
    num_remote = sum(map(plan.is_remote, range(plan.num_stages)))
    flags = " --insecure-without-keys" if config.insecure_without_keys else ""
    line = f"{RUN_ID_VARIABLE}={run_id} dni-worker --join {address}{flags}"
    if config.keys is not None:
        line = f"dni-worker --join {address} --keys {config.keys}"
    return f"waiting for {num_remote} workers; start each, on any host, with\n  {line}"
