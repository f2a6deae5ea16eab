"""Ask this host, before a run directory is made, what would keep the run from working here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from dni_async.addresses import is_loopback
from dni_async.config.run_config import RunConfig
from dni_async.config.settings import SETTINGS
from dni_async.errors import ConfigError
from dni_async.launcher.plan.host.facts import (
    look_at_cores,
    look_at_loopback,
    look_at_temporary,
)
from dni_async.launcher.plan.host.finding import Finding
from dni_async.launcher.plan.host.findings import (
    LOOPBACK,
    QUOTA,
    TEMPORARY,
    judge_memory,
    judge_threads,
)
from dni_async.system.machine import available_bytes

__all__ = ["ask_host"]

NEEDED = (TEMPORARY, LOOPBACK)


def ask_host(config: RunConfig, run_dir: Path) -> list[str]:
    """What the user should know of this host: sentences on what is doubtful.

    Takes a few milliseconds. Raises ConfigError for what no run could live with.
    """
    _check_texts(config, run_dir)
    notes = []
    for finding in _looks(config):
        if finding.verdict == "bad" and finding.name in NEEDED:
            raise ConfigError(f"{finding.name}: {finding.what}; {finding.remedy}")
        if finding.verdict == "bad" or finding.name == QUOTA:
            notes.append(f"{finding.name}: {finding.what}; {finding.remedy}")
    return notes


def _looks(config: RunConfig) -> Iterator[Finding]:
    """What a run with these settings depends on."""
    if "local" in config.workers:
        yield look_at_temporary()
    host = config.interface if config.listen is None else config.listen_host
    if is_loopback(host) and (config.transport == "tcp" or config.listen is not None):
        yield look_at_loopback()
    yield look_at_cores()
    yield judge_memory(available_bytes())
    yield from judge_threads(os.environ)


def _check_texts(config: RunConfig, run_dir: Path) -> None:
    """Raises ConfigError for a path or name that is no UTF-8: it could not be told to a worker."""
    values = {name: getattr(config, name) for name in SETTINGS} | {
        "run_dir": os.path.abspath(run_dir)
    }
    for name, value in values.items():
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and not _is_utf8(text):
                raise ConfigError(
                    f"{name}: {text!r} is no UTF-8, which is what messages and reports are "
                    "written in; give it another name"
                )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
