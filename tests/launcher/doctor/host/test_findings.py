"""What is said of a host: facts in, verdicts and remedies out."""

from __future__ import annotations

import pytest

from dni_async.launcher.doctor.finding import Finding, count, is_passed
from dni_async.launcher.doctor.host.findings import (
    judge_clock,
    judge_descriptors,
    judge_libzmq,
    judge_load,
    judge_packages,
    judge_ptrace,
    judge_python,
    judge_shm,
    judge_system,
)
from dni_async.launcher.plan.host.findings import judge_cores, judge_memory, judge_threads

GB = 2**30
VERDICTS: dict[str, tuple[Finding, str]] = {
    "python": (judge_python((3, 12, 1)), "good"),
    "an old python": (judge_python((3, 9, 18)), "bad"),
    "libzmq": (judge_libzmq("4.3.5", has_encryption=True), "good"),
    "libzmq without keys": (judge_libzmq("4.3.5", has_encryption=False), "doubtful"),
    "linux": (judge_system("Linux", "6.1", "x86_64"), "good"),
    "macos": (judge_system("Darwin", "24", "arm64"), "doubtful"),
    "windows": (judge_system("Windows", "11", "AMD64"), "bad"),
    "cores": (judge_cores(counted=4, present=8, affinity=4, quota=None), "good"),
    "a quota that was counted": (judge_cores(counted=2, present=8, affinity=8, quota=2.0), "good"),
    "a quota of a part": (judge_cores(counted=2, present=8, affinity=8, quota=1.5), "doubtful"),
    "a quota that was not seen": (
        judge_cores(counted=8, present=8, affinity=8, quota=2.0),
        "doubtful",
    ),
    "one core": (judge_cores(counted=1, present=1, affinity=1, quota=None), "doubtful"),
    "idle": (judge_load(0.4, 2), "good"),
    "busy": (judge_load(1.0, 2), "doubtful"),
    "memory": (judge_memory(16 * GB), "good"),
    "memory unknown": (judge_memory(None), "good"),
    "little memory": (judge_memory(GB // 2), "doubtful"),
    "no memory": (judge_memory(GB // 8), "bad"),
    "many files": (judge_descriptors(1024, 4096), "good"),
    "any number of files": (judge_descriptors(-1, -1), "good"),
    "some files": (judge_descriptors(512, 512), "doubtful"),
    "few files": (judge_descriptors(64, 4096), "bad"),
    "shm": (judge_shm(8 * GB), "good"),
    "the shm of a container": (judge_shm(64 * 2**20), "good"),
    "small shm": (judge_shm(2**20), "doubtful"),
    "no shm": (judge_shm(None), "doubtful"),
    "ptrace": (judge_ptrace(None), "good"),
    "ptrace of children": (judge_ptrace(1), "good"),
    "no ptrace": (judge_ptrace(3), "doubtful"),
    "a clock": (judge_clock(1e-9, 50e-9, "tsc"), "good"),
    "a coarse clock": (judge_clock(0.015, 50e-9, ""), "doubtful"),
    "a slow clock": (judge_clock(1e-9, 5e-6, "hpet"), "doubtful"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_on(name: str) -> None:
    finding, verdict = VERDICTS[name]
    assert finding.verdict == verdict
    assert bool(finding.remedy) == (verdict != "good"), "a remedy where one is needed"


@pytest.mark.parametrize(
    ("version", "floor", "verdict"),
    [
        ("2.13.0+cpu", "2.6", "good"),
        ("2.6", "2.6.0", "good"),
        ("2.6.0rc1", "2.6", "good"),
        ("2.5.1", "2.6", "bad"),
        ("10.0", "9.9", "good"),
        ("1.0", "", "good"),
        ("", "2.6", "bad"),
    ],
)
def test_a_package_of(version: str, floor: str, verdict: str) -> None:
    floors = {"torch": floor} if floor else {}
    (finding,) = judge_packages({"torch": version}, floors)
    assert finding.verdict == verdict
    assert bool(finding.remedy) == (verdict == "bad")


@pytest.mark.parametrize(
    ("environment", "verdict", "remedies"),
    [
        ({}, "good", []),
        ({"OMP_NUM_THREADS": "16", "OMP_WAIT_POLICY": "passive"}, "good", []),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "doubtful", ["unset OMP_WAIT_POLICY"]),
        ({"GOMP_SPINCOUNT": "0"}, "good", []),
        ({"GOMP_SPINCOUNT": "INFINITE"}, "bad", ["unset GOMP_SPINCOUNT"]),
        ({"OMP_PROC_BIND": "close"}, "bad", ["unset OMP_PROC_BIND"]),
        ({"OMP_PROC_BIND": "false", "OMP_PLACES": "cores"}, "good", []),
        ({"OMP_PLACES": "cores"}, "bad", ["unset OMP_PLACES"]),
        ({"GOMP_CPU_AFFINITY": "0-3"}, "bad", ["unset GOMP_CPU_AFFINITY"]),
        ({"KMP_AFFINITY": "compact"}, "doubtful", ["unset KMP_AFFINITY"]),
        ({"OMP_PROC_BIND": "FALSE", "GOMP_CPU_AFFINITY": "0-3"}, "good", []),
        ({"OMP_THREAD_LIMIT": "1"}, "doubtful", ["unset OMP_THREAD_LIMIT"]),
        ({"CUDA_LAUNCH_BLOCKING": "1"}, "doubtful", ["unset CUDA_LAUNCH_BLOCKING"]),
        (
            {"GOMP_SPINCOUNT": "9", "OMP_PROC_BIND": "true"},
            "bad",
            ["unset GOMP_SPINCOUNT", "unset OMP_PROC_BIND"],
        ),
    ],
)
def test_an_environment_of(environment: dict[str, str], verdict: str, remedies: list[str]) -> None:
    findings = judge_threads(environment)
    assert {finding.verdict for finding in findings} == {verdict}
    assert [finding.remedy for finding in findings if finding.remedy] == remedies


def test_the_remedy_for_few_files_stays_below_the_hard_limit() -> None:
    assert judge_descriptors(64, 4096).remedy == "ulimit -n 1024"
    assert judge_descriptors(64, 512).remedy == "ulimit -n 512"
    assert "root" in judge_descriptors(64, 64).remedy


def test_only_what_is_bad_fails() -> None:
    good, doubtful = Finding("a", "good", ""), Finding("b", "doubtful", "", "c")
    assert is_passed([good, doubtful])
    assert not is_passed([good, Finding("d", "bad", "", "e")])
    assert count([good, doubtful, doubtful]) == "1 good, 2 doubtful, 0 bad"
