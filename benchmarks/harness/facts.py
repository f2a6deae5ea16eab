"""Facts about the machine while a benchmark ran, and what several measurements come to."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dni_async.launcher.report.comparison import BUSY, TAKEN
from dni_async.system.machine import available_cores, core_use

__all__ = ["Observation", "Spread", "why_not"]

_STEAL = 7  # the place of stolen time in the first line of /proc/stat
_IDLE = (3, 4)  # idle, and waiting for a disk


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing: how many, the middle one, and how far they lie apart."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one measurement."""
        if not values:
            raise ValueError("no measurements")
        return cls(tuple(values))

    @property
    def median(self) -> float:
        """The middle measurement."""
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        """The smallest measurement."""
        return min(self.values)

    @property
    def most(self) -> float:
        """The largest measurement."""
        return max(self.values)

    def to_dict(self) -> dict[str, Any]:
        """As the JSON shows it."""
        return {
            "median": self.median,
            "min": self.least,
            "max": self.most,
            "values": list(self.values),
        }


class Observation:
    """Watches the machine from the moment it is made."""

    def __init__(self) -> None:
        self._date = datetime.now(timezone.utc)
        self._began = time.perf_counter()
        self._load = os.getloadavg()
        self._ticks = _ticks()
        self._use = core_use()

    def facts(self) -> dict[str, Any]:
        """What the machine is, and how quiet it was up to now.

        steal_share: of all cores' time, what the host gave to others. busy_share: what anybody
        on this machine used, the benchmark included. others_cores: kept busy by what is not of it.
        None where the system does not say. not_comparable: why no ratio means anything, in a
        clause; None where it does.
        """
        others, load = self.others_cores(), self._load[0]
        ticks = [now - then for now, then in zip(_ticks(), self._ticks, strict=True)]
        total = sum(ticks)
        idle = sum(ticks[place] for place in _IDLE) if total else 0
        return {
            "date": self._date.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._began, 1),
            **machine(),
            "load_start": [round(load, 2) for load in self._load],
            "load_end": [round(load, 2) for load in os.getloadavg()],
            "steal_share": round(ticks[_STEAL] / total, 4) if total else None,
            "busy_share": round(1 - idle / total, 4) if total else None,
            "others_cores": None if others is None else round(others, 2),
            "not_comparable": why_not(others, load, available_cores()),
        }

    def others_cores(self) -> float | None:
        """Cores that were kept busy up to now by what is not of the benchmark."""
        use = core_use()
        return None if use is None or self._use is None else use.others_since(self._use)


def why_not(others: float | None, load: float, cores: int) -> str | None:
    """Why speeds are not compared, in a clause, by the rule of a run's report; None: they are.

    others: cores that other programs took meanwhile; load: before, where that is not known.
    """
    if others is not None and others >= TAKEN * cores:
        return f"other programs kept {others:.1f} of {cores} cores busy meanwhile"
    if others is None and load >= BUSY * cores:
        return f"{load:.1f} processes wanted {cores} cores before it"
    return None


def machine() -> dict[str, Any]:
    """What stays the same while it is watched."""
    return {
        "cores": available_cores(),
        "processor": processor(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "torch": version("torch"),
        "pyzmq": version("pyzmq"),
    }


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _ticks() -> list[int]:
    """User, nice, system, idle, iowait, irq, softirq and steal time of all cores; or no list."""
    try:
        first, _, _ = Path("/proc/stat").read_text(encoding="ascii").partition("\n")
    except OSError:
        return []
    return [int(value) for value in first.split()[1:9]]
