"""What differs between operating systems, in one place: cores, process names, dying together."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
from pathlib import Path

__all__ = [
    "available_bytes",
    "available_cores",
    "die_with_parent",
    "has_nvidia_device",
    "name_process",
    "peak_rss_bytes",
]

_PR_SET_PDEATHSIG = 1


def available_cores(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores this process may really use: its affinity, and the cgroup's quota rounded up."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text().split()
    except (OSError, ValueError):
        return cores
    if quota == "max":
        return cores
    return max(1, min(cores, math.ceil(int(quota) / int(period))))


def available_bytes() -> int | None:
    """Memory that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = {name: rest.split()[0] for name, _, rest in (line.partition(":") for line in lines)}
    return int(fields["MemAvailable"]) * 1024 if "MemAvailable" in fields else None


def peak_rss_bytes() -> int:
    """The most memory this process has held at once; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def die_with_parent(parent: int) -> None:
    """Be killed when process parent dies, even by SIGKILL; exits at once if it is dead already.

    Linux only. Elsewhere this does nothing, and an inherited pipe that ends tells the process.
    The signal follows the parent's *thread* that made this process, so call it in children of a
    single-threaded parent.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def name_process(name: str) -> None:
    """Show name (15 characters) in ps and top where the kernel offers it."""
    try:
        Path("/proc/self/comm").write_text(name, encoding="ascii")
    except OSError:
        return


def has_nvidia_device() -> bool:
    """Whether an NVIDIA driver shows itself; cheap, so that CPU runs need not import torch."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()
