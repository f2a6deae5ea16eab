"""Judge what this host offers to a run: facts in, findings out; no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dni_async.launcher.doctor.finding import Finding, Verdict

__all__ = [
    "judge_clock",
    "judge_descriptors",
    "judge_libzmq",
    "judge_load",
    "judge_packages",
    "judge_ptrace",
    "judge_python",
    "judge_shm",
    "judge_system",
]

BUSY = 0.5  # of the cores, taken by others before a run (as in dni_async.launcher.report.rows)
FEW_DESCRIPTORS = 256  # with fewer, a run of a dozen workers may not start
SOME_DESCRIPTORS = 1024
FEW_SHM_BYTES = 64 * 2**20
COARSE_S = 1e-4  # a clock that cannot tell the phases of a batch apart
SLOW_CLOCK_S = 1e-6  # a call that leaves user space takes about as long
PYTHON_FLOOR = (3, 10)


def judge_python(version: tuple[int, int, int]) -> Finding:
    """The interpreter that runs this, and every worker."""
    text = ".".join(map(str, version))
    if version[:2] < PYTHON_FLOOR:
        return Finding("python", "bad", text, "install Python 3.10 or newer")
    return Finding("python", "good", text)


def judge_packages(installed: Mapping[str, str], floors: Mapping[str, str]) -> list[Finding]:
    """installed: version of each, empty where it is missing. floors: the oldest that will do."""
    findings = []
    for name, version in installed.items():
        floor = floors.get(name, "")
        wish = f"{name}>={floor}" if floor else name
        if not version:
            findings.append(Finding(name, "bad", "is not installed", f"pip install '{wish}'"))
        elif _release(version) < _release(floor):
            what = f"{version} is older than {floor}"
            findings.append(Finding(name, "bad", what, f"pip install --upgrade '{wish}'"))
        else:
            findings.append(Finding(name, "good", version))
    return findings


def judge_libzmq(version: str, *, has_encryption: bool) -> Finding:
    """The library under pyzmq. has_encryption: it was built with CURVE."""
    if not has_encryption:
        return Finding(
            "libzmq",
            "doubtful",
            f"{version} without CURVE, so --transport tcp and workers elsewhere cannot be used",
            "install pyzmq from its wheel: pip install --force-reinstall --only-binary :all: pyzmq",
        )
    return Finding("libzmq", "good", f"{version} with CURVE")


def judge_system(system: str, release: str, machine: str) -> Finding:
    """Of the operating system."""
    text = f"{system} {release} {machine}"
    if system == "Linux":
        return Finding("system", "good", text)
    return Finding(
        "system",
        "bad" if system == "Windows" else "doubtful",
        f"{text}: dni-async is made for Linux",
        "use Linux, in a container or a virtual machine if need be",
    )


def judge_load(load: float, cores: int) -> Finding:
    """load: processes that wanted a core, on average over the last minute."""
    text = f"{load:.1f} processes want {cores} core{'s' if cores > 1 else ''}"
    if load >= BUSY * cores:
        remedy = "wait, or end what else computes here: ps -eo pid,user,pcpu,comm --sort=-pcpu"
        return Finding(
            "load", "doubtful", f"{text}: speeds measured beside that say little", remedy
        )
    return Finding("load", "good", text)


def judge_descriptors(soft: int, hard: int) -> Finding:
    """Open files that a process may have; -1 without limit."""
    text = "no limit" if soft < 0 else f"{soft:,} for a process"
    if 0 <= soft < SOME_DESCRIPTORS:
        reach = SOME_DESCRIPTORS if hard < 0 or hard >= SOME_DESCRIPTORS else hard
        remedy = f"ulimit -n {reach}" if reach > soft else "have root raise the hard limit"
        verdict: Verdict = "bad" if soft < FEW_DESCRIPTORS else "doubtful"
        what = f"{text}: sockets of a run with many workers may not fit"
        return Finding("open files", verdict, what, remedy)
    return Finding("open files", "good", text)


def judge_shm(size_bytes: int | None) -> Finding:
    """size_bytes: of /dev/shm; None where there is none. Links do without it."""
    note = "links do not use it, a model of your own may"
    remedy = "in a container: --shm-size 1g, or --ipc host"
    if size_bytes is None:
        return Finding("/dev/shm", "doubtful", f"is not there ({note})", remedy)
    text = f"{size_bytes / 2**20:,.0f} MB ({note})"
    if size_bytes < FEW_SHM_BYTES:
        return Finding("/dev/shm", "doubtful", text, remedy)
    return Finding("/dev/shm", "good", text)


def judge_ptrace(scope: int | None) -> Finding:
    """scope: of Yama, 0 to 3; None where there is none. Nothing in a run needs ptrace."""
    text = "unrestricted" if scope is None else f"scope {scope}"
    if scope is not None and scope >= 2:
        what = f"{text}: py-spy and gdb cannot look into a worker that hangs (a run needs neither)"
        remedy = "as root, for as long as you look: sysctl kernel.yama.ptrace_scope=1"
        return Finding("ptrace", "doubtful", what, "reboot without it" if scope == 3 else remedy)
    return Finding("ptrace", "good", text)


def judge_clock(resolution_s: float, call_s: float, source: str) -> Finding:
    """Of the monotonic clock: its resolution, what a call takes, the kernel's source of it."""
    text = f"resolution {resolution_s * 1e9:,.0f} ns, {call_s * 1e9:,.0f} ns a call"
    text += f" ({source})" if source else ""
    if resolution_s > COARSE_S:
        what = f"{text}: too coarse for the times of a report"
    elif call_s > SLOW_CLOCK_S:
        what = f"{text}: workers ask it several times a batch"
    else:
        return Finding("clock", "good", text)
    remedy = "a better clock source, if the kernel has one: see "
    remedy += "/sys/devices/system/clocksource/clocksource0/available_clocksource"
    return Finding("clock", "doubtful", what, remedy)


def _release(version: str) -> tuple[int, ...]:
    """The numbers in front: (2, 13, 0) of 2.13.0+cpu. Zeros at the end do not count."""
    found = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in found.group().split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
