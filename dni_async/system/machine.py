"""What differs between operating systems, in one place: cores, process names, dying together."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import signal
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "STACK_SIGNAL",
    "CoreUse",
    "adopt_orphans",
    "available_bytes",
    "available_cores",
    "cgroup_quota",
    "compute_in_long_slices",
    "core_use",
    "die_with_parent",
    "group_seconds",
    "has_nvidia_device",
    "idle_ticks",
    "keep_memory",
    "machine_id",
    "name_process",
    "peak_rss_bytes",
    "place_id",
    "rss_bytes",
    "unix_address",
]

STACK_SIGNAL = signal.SIGUSR1
"""A worker that gets it writes the stacks of its threads into its log and goes on."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_SLICE_NS = 20_000_000
_SHORTEST_S = 0.5  # a hundredth of a second is a tick of every core's and process's count
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # system call numbers
_SCHED_ATTR = struct.Struct("=IIQiIQQQII")  # sched_attr of linux/sched/types.h
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_NVIDIA_PATHS = (
    "/proc/driver/nvidia/version",
    "/dev/nvidiactl",
    "/usr/lib/wsl/lib/libcuda.so.1",
)
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def available_cores(root: Path = _CGROUPS, own: Path = _OWN_GROUPS) -> int:
    """Cores this process may really use: its affinity, and the cgroup's quota rounded up."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return _within(cgroup_quota(root, own), cores)


def _within(quota: float | None, cores: int) -> int:
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cgroup_quota(root: Path = _CGROUPS, own: Path = _OWN_GROUPS) -> float | None:
    """Cores that the control groups grant to this process: the least of all above it, or None."""
    least = _least_granted(root, own)
    return None if least is None else least[0]


def _least_granted(root: Path, own: Path) -> tuple[float, Path] | None:
    """The cores that the narrowest group grants, and the folder of that group; None: all."""
    granted = [(_quota(folder), folder) for folder in _groups(root, own)]
    return min(((cores, folder) for cores, folder in granted if cores is not None), default=None)


def _groups(root: Path, own: Path) -> Iterator[Path]:
    """The folders of the groups that this process is in, those above them, and the root's."""
    yield root
    for line in (_text(str(own)) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # of version 2
            folder = root / path.strip("/")
            yield from (each for each in (folder, *folder.parents) if each.is_relative_to(root))
        elif "cpu" in controllers.split(","):
            yield from (root / "cpu", root / "cpu" / path.strip("/"))


def _quota(group: Path) -> float | None:
    """By cpu.max of version 2, or by the two files of version 1."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        told = " ".join(_text(f"{group}/{name}") or "" for name in names)
        with suppress(ValueError, ZeroDivisionError):  # not there, or "max"
            quota, period = map(int, told.split())
            return quota / period if quota > 0 else None
    return None


@dataclass(frozen=True, slots=True)
class CoreUse:
    """What the cores that this process may run on have done up to a moment, in seconds of a core.

    num_cores: how many they are; limit: how many of them a quota leaves. idle_s: nobody had work
    for them. own_s: they worked for this process and all that descend from it, those that have
    ended among them. group_s: for its container, where a quota is in force and that is known.
    """

    at_s: float
    num_cores: int
    limit: int
    idle_s: float
    own_s: float
    group_s: float | None = None

    def others_since(self, before: CoreUse) -> float | None:
        """Mean number of cores that others kept busy since then, or a host took for itself.

        Of no cores but those that this process may use: under a quota, what others do within it,
        and what those without take beyond the cores that it leaves free. None for less than
        half a second, in which the system's ticks say little.
        """
        elapsed_s = self.at_s - before.at_s
        if elapsed_s < _SHORTEST_S:
            return None
        own_s = max(0.0, self.own_s - before.own_s)
        busy_s = max(0.0, self.num_cores * elapsed_s - (self.idle_s - before.idle_s))
        group_s = own_s
        if self.group_s is not None and before.group_s is not None:
            group_s = max(own_s, self.group_s - before.group_s)
        free_s = (self.num_cores - self.limit) * elapsed_s
        others_s = group_s - own_s + max(0.0, busy_s - group_s - free_s)
        return others_s / elapsed_s


def core_use() -> CoreUse | None:
    """As of now, in a millisecond or so; None where the system does not say."""
    try:
        cores = os.sched_getaffinity(0)
        tick_s = 1 / os.sysconf("SC_CLK_TCK")
        idle = idle_ticks(cores)
        at_s = time.monotonic()
        own_ticks = _tree_ticks(os.getpid())
    except (AttributeError, OSError, ValueError):
        return None
    if own_ticks is None:
        return None
    quota, group = _least_granted(_CGROUPS, _OWN_GROUPS) or (None, None)
    limit = _within(quota, len(cores))
    group_s = group_seconds(group) if group is not None and limit < len(cores) else None
    return CoreUse(at_s, len(cores), limit, idle * tick_s, own_ticks * tick_s, group_s)


def idle_ticks(cores: set[int], told: Path = Path("/proc/stat")) -> int:
    """Of these cores together. Raises OSError, ValueError.

    Waiting for a disk is idle; interrupts are nobody's, for those of a run's own messages count as
    nobody's either. A sandbox may show cores that have never done anything.
    """
    rows = [line.split() for line in told.read_text(encoding="ascii").splitlines()]
    names = {f"cpu{core}" for core in cores}
    ticks = [list(map(int, row[1:])) for row in rows if row and row[0] in names]
    if len(ticks) != len(cores) or not all(map(any, ticks)):
        raise ValueError("not all cores are told of")
    return sum(sum(each[3:7]) for each in ticks)


def _tree_ticks(pid: int) -> int | None:
    """Of a process and all below it, with those that have ended; None where it does not show."""
    text = _text(f"/proc/{pid}/stat")
    threads = _names(f"/proc/{pid}/task")
    below = [_text(f"/proc/{pid}/task/{thread}/children") for thread in threads]
    told = [each for each in below if each is not None]
    if text is None or not told:
        return None
    ticks = sum(map(int, text.rpartition(")")[2].split()[11:15]))
    children = [int(child) for each in told for child in each.split()]
    return ticks + sum(_tree_ticks(child) or 0 for child in children)


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:  # gone
        return None


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # gone
        return []


def group_seconds(group: Path) -> float | None:
    """Seconds of a core that all in a control group have used, by its folder; None: not told."""
    for name, key, unit_s in (("cpu.stat", "usage_usec", 1e-6), ("cpuacct.usage", "", 1e-9)):
        rows = (line.rpartition(" ") for line in (_text(f"{group}/{name}") or "").splitlines())
        fields = {name: value for name, _, value in rows}
        with suppress(KeyError, ValueError):  # of the other version
            return int(fields[key]) * unit_s
    return None


def available_bytes(cgroup: Path = _CGROUPS) -> int | None:
    """Memory that can be had without swapping, within the cgroup's limit; None if nothing says."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = {name: rest.split()[0] for name, _, rest in (line.partition(":") for line in lines)}
    if "MemAvailable" not in fields:
        return None
    size = int(fields["MemAvailable"]) * 1024
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of version 2, of version 1
        with suppress(OSError, ValueError):  # "max" where there is none
            size = min(size, int((cgroup / limit).read_text()))
    return size


def rss_bytes() -> int:
    """The memory that this process holds. Raises OSError, where no descriptor is to be had."""
    try:  # a fifth of what psutil takes, which goes through the same file
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except FileNotFoundError:  # not Linux
        import psutil

        return int(psutil.Process().memory_info().rss)


def peak_rss_bytes() -> int:
    """The most memory this process has held at once; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def keep_memory() -> None:
    """Keep memory that was freed: else each large gradient is fresh pages at every update.

    What MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_ do for processes that others start.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_TRIM_THRESHOLD, 2**30)
    if not mallopt(_M_MMAP_THRESHOLD, 2**30):
        mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that older libraries take


def machine_id() -> str:
    """The same for all processes of one running kernel, containers or not."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


def place_id() -> str:
    """The same where processes can reach each other's abstract sockets, and trust each other.

    So on one machine, in one network namespace, of one user. Empty where there are none.
    """
    if sys.platform != "linux":
        return ""
    try:
        return f"{machine_id()}/{os.stat('/proc/self/ns/net').st_ino}/{os.geteuid()}"
    except OSError:
        return ""


def unix_address(path: str) -> str:
    """As the system names a socket: @NAME, as ZeroMQ writes it, is one without a file."""
    return "\0" + path[1:] if path.startswith("@") else path


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


def adopt_orphans(*, is_on: bool) -> bool:
    """Whether processes below this one become its children when their parents die; how it was.

    Linux only. Elsewhere they go to the system's first process, and nothing is changed.
    """
    if sys.platform != "linux":
        return False
    libc, before = ctypes.CDLL(None), ctypes.c_int(0)
    libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, int(is_on), 0, 0, 0)
    return bool(before.value)


def compute_in_long_slices() -> None:
    """Ask the scheduler to let this process compute on for longer before another takes its core.

    Where workers share cores, each switch costs the caches that the next one must fill again. As
    a batch task (Linux) a process that wakes up pushes nobody off a core, and from Linux 6.12 on
    its share comes in slices of 20 ms. Threads started later inherit this; call it before any.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return
    with suppress(OSError):  # a sandbox may forbid it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    number = _SCHED_SETATTR.get(platform.machine())
    if number is not None:
        attributes = _SCHED_ATTR.pack(
            _SCHED_ATTR.size, os.SCHED_BATCH, 0, os.getpriority(os.PRIO_PROCESS, 0), 0,
            _SLICE_NS, 0, 0, 0, 0,
        )  # fmt: skip
        ctypes.CDLL(None).syscall(number, 0, attributes, 0)


def name_process(name: str) -> None:
    """Show name (15 characters) in ps and top where the kernel offers it."""
    try:
        Path("/proc/self/comm").write_text(name, encoding="ascii")
    except OSError:
        return


def has_nvidia_device() -> bool:
    """Whether an NVIDIA driver shows itself; cheap, so that CPU runs need not import torch.

    In WSL2 the driver is Windows's, and shows itself as its library alone.
    """
    return any(map(os.path.exists, _NVIDIA_PATHS))
