"""Judge what this host offers, where a run depends on it: facts in, findings out; no I/O."""

from __future__ import annotations

import os
from collections.abc import Mapping

from dni_async.files.scratch import Scratch
from dni_async.launcher.plan.host.finding import Finding, Verdict

__all__ = [
    "LOOPBACK",
    "QUOTA",
    "TEMPORARY",
    "judge_cores",
    "judge_loopback",
    "judge_memory",
    "judge_temporary",
    "judge_threads",
]

TEMPORARY, LOOPBACK, QUOTA = "temp folder", "tcp", "quota"  # names of findings
WORKER_BYTES = 256 * 2**20  # what a worker with a small stage takes, torch included
_PINS = ("OMP_PLACES", "GOMP_CPU_AFFINITY")
_OFF = {"", "false"}
_SAME_CORE = "torch binds every worker to the same first core, the fork server's"
# Variable -> values that do no harm, what others do, the verdict. dni-launch sets the numbers of
# threads and OMP_WAIT_POLICY for its workers itself, and leaves the rest as it is.
_HARMFUL: Mapping[str, tuple[set[str], str, Verdict]] = {
    "OMP_WAIT_POLICY": (
        {"", "passive"},
        "idle threads of a dni-worker started from here spin on its neighbours' cores",
        "doubtful",
    ),
    "GOMP_SPINCOUNT": (
        {"", "0"},
        "idle threads spin on their neighbours' cores, whatever OMP_WAIT_POLICY says",
        "bad",
    ),
    "OMP_PROC_BIND": (_OFF, _SAME_CORE, "bad"),
    "OMP_PLACES": ({""}, _SAME_CORE, "bad"),
    "GOMP_CPU_AFFINITY": ({""}, _SAME_CORE, "bad"),
    "KMP_AFFINITY": (
        {"", "none", "disabled"},
        "where torch uses Intel's OpenMP, every worker is bound to the same cores",
        "doubtful",
    ),
    "OMP_THREAD_LIMIT": (
        {""},
        "no process may have more threads, the baseline on all cores included",
        "doubtful",
    ),
    "CUDA_LAUNCH_BLOCKING": (
        {"", "0"},
        "every GPU kernel is waited for, so no stage runs ahead of its GPU",
        "doubtful",
    ),
}


def judge_temporary(made: Scratch | None, place: str = "", error: str = "") -> Finding:
    """made: a folder that was made for a run's sockets. None: why none could be, at place first."""
    if made is None:
        remedy = "point TMPDIR at a folder of yours on a local disk: export TMPDIR=/tmp"
        return Finding(TEMPORARY, "bad", f"{place}: {error}", remedy)
    what = os.path.dirname(made.path)
    if made.passed_over:
        (place, reason), *_ = made.passed_over
        what += f" (not {place}: {reason})"
    return Finding(TEMPORARY, "good", what)


def judge_loopback(error: str) -> Finding:
    """error: why a free tcp port of 127.0.0.1 could not be listened on and connected to."""
    if error:
        what = f"127.0.0.1: {error}, so --transport tcp cannot work"
        return Finding(LOOPBACK, "bad", what, "bring the loopback up (ip link set lo up)")
    return Finding(LOOPBACK, "good", "a free port of 127.0.0.1 takes connections")


def judge_cores(*, counted: int, present: int, affinity: int, quota: float | None) -> Finding:
    """counted: what a run reckons with. quota: cores that the cgroup grants; None for all."""
    granted = "no quota" if quota is None else f"quota {quota:.2g}"
    text = f"{counted} of {present} (affinity {affinity}, {granted})"
    if quota is not None and quota < counted:
        return Finding(
            QUOTA,
            "doubtful",
            f"{text}: threads that use up the quota are all stopped until its next period",
            f"give whole cores (cpuset), or ask for {max(1, int(quota))} threads in all: "
            "--threads-per-worker 1 and fewer --stages",
        )
    if counted == 1:
        return Finding(
            "cores",
            "doubtful",
            f"{text}: workers take turns on one core, and a run cannot be faster than one process",
            "use a host, a container or an affinity (taskset) with more cores",
        )
    return Finding("cores", "good", text)


def judge_memory(available_bytes: int | None) -> Finding:
    """available_bytes: without swapping; None where the system does not say."""
    if available_bytes is None:
        return Finding("memory", "good", "the system does not say how much is available")
    workers = available_bytes // WORKER_BYTES
    text = f"{available_bytes / 2**30:.1f} GB available"
    if workers < 4:
        return Finding(
            "memory",
            "bad" if workers < 1 else "doubtful",
            f"{text}, and a worker takes about {WORKER_BYTES // 2**20} MB before its layers",
            "end other programs, or use fewer --stages",
        )
    return Finding("memory", "good", text)


def judge_threads(environment: Mapping[str, str]) -> list[Finding]:
    """What the environment says to the thread pools, and would hurt workers that share cores."""
    said = {name: environment.get(name, "").strip().lower() for name in _HARMFUL}
    if said["OMP_PROC_BIND"] in _OFF and "OMP_PROC_BIND" in environment:
        for name in _PINS:  # without binding they say nothing
            said[name] = ""
    findings = []
    for name, (is_harmless, what, verdict) in _HARMFUL.items():
        if said[name] not in is_harmless:
            text = f"{name}={environment[name][:40]}: {what}"
            findings.append(Finding("threads", verdict, text, f"unset {name}"))
    return findings or [Finding("threads", "good", "nothing in the environment holds them up")]
