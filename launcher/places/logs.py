"""What processes wrote into their logs, as far as the user is shown it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["last_line", "read_from", "size_of"]

MAX_BYTES = 8_000


def size_of(log: Path) -> int:
    """Bytes in the log; 0 where there is none."""
    try:
        return log.stat().st_size
    except OSError:
        return 0


def read_from(log: Path, start: int) -> str:
    """What was written since the log had that size; the end of it, if it is much."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, size_of(log) - MAX_BYTES))
            return file.read().decode(errors="replace").rstrip()
    except OSError:
        return ""


def last_line(log: Path) -> str:
    """The last line that holds anything; "" where there is none."""
    return read_from(log, 0).rpartition("\n")[2].strip()
