"""The logs of a run's folder, their tails, and the stack of a worker on request."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from dni_async.files import names
from dni_async.system.machine import STACK_SIGNAL

__all__ = ["Stacks", "list_logs", "tail_of", "worker_pid"]

TAIL_BYTES = 32 * 1024
MAX_LOGS = 500
BETWEEN_S = 1.0  # between two requests for the stack of the same stage


def list_logs(folder: Path) -> list[dict[str, Any]]:
    """The logs that a run's folder holds: name and size in bytes, by name."""
    try:
        found = [path for path in (folder / names.LOGS).iterdir() if path.suffix == ".log"]
        listed = sorted(path for path in found if path.is_file() and not path.is_symlink())
        return [{"name": p.name, "size": p.stat().st_size} for p in listed[:MAX_LOGS]]
    except OSError:
        return []


def tail_of(folder: Path, name: str) -> str | None:
    """The end of a log; None where there is none of that name."""
    if name not in {log["name"] for log in list_logs(folder)}:
        return None
    try:
        with (folder / names.LOGS / name).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return None
    return text if size <= TAIL_BYTES else text.partition("\n")[2]


class Stacks:
    """Asks workers of this host, which are below this process, to write their stacks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked: dict[int, float] = {}

    def ask(self, stage: int) -> bool:
        """Have the stage's worker write its stack into its log; whether there was one to ask."""
        now = time.monotonic()
        if now - self._asked.get(stage, -BETWEEN_S) < BETWEEN_S:
            return True  # it is on its way
        pid = worker_pid(stage, os.getpid())
        if pid is None:
            return False
        self._asked[stage] = now
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, STACK_SIGNAL)
        return True

    def written(self, stage: int) -> str | None:
        """The end of the stage's log, where its stack stands."""
        return tail_of(self._folder, names.log(stage))


def worker_pid(stage: int, launcher: int) -> int | None:
    """The process below launcher that calls itself the worker of the stage, if there is one."""
    wanted = f"dni-stage-{stage}"
    for pid, name, parent in _processes():
        if name == wanted and launcher in (parent, _parent(parent)):
            return pid
    return None


def _processes() -> list[tuple[int, str, int]]:
    """Pid, name and parent's pid of every process that the kernel shows."""
    listed = (_stat(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [found for found in listed if found is not None]


def _stat(pid: int) -> tuple[int, str, int] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    before, _, after = text.rpartition(")")  # its name may hold anything
    return pid, before.partition("(")[2], int(after.split()[1])


def _parent(pid: int) -> int:
    found = _stat(pid)
    return 0 if found is None else found[2]
