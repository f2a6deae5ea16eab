"""What is said of folders, memory, devices and addresses: facts in, verdicts and remedies out."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from dni_async.launcher.doctor.finding import Finding
from dni_async.launcher.doctor.host.place_findings import (
    judge_device_sharing,
    judge_devices,
    judge_listen,
    judge_memory_sharing,
)


def listen(error: int) -> Finding:
    return judge_listen("tcp://10.0.0.5:5555", error)


VERDICTS: dict[str, tuple[Finding, str, str]] = {
    "shared memory": (judge_memory_sharing(""), "good", ""),
    "no shared memory": (judge_memory_sharing("not permitted"), "doubtful", "seccomp"),
    "a free address": (listen(0), "good", ""),
    "a taken port": (listen(errno.EADDRINUSE), "bad", "ss -ltnp"),
    "a foreign address": (listen(errno.EADDRNOTAVAIL), "bad", "ip -brief address"),
    "a low port": (listen(errno.EACCES), "bad", "1023"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_on(name: str) -> None:
    finding, verdict, remedy = VERDICTS[name]
    assert finding.verdict == verdict
    assert remedy in finding.remedy
    assert bool(finding.remedy) == (verdict != "good")


NO_GPU: dict[str, Any] = {"torch": "2.13.0", "cuda": "12.8", "devices": []}


def gpu(free_bytes: int) -> dict[str, Any]:
    device = {"index": 0, "name": "H", "free_bytes": free_bytes, "total_bytes": 80 * 2**30}
    return {**NO_GPU, "devices": [device]}


@pytest.mark.parametrize(
    ("facts", "has_driver", "visible", "verdict", "remedy"),
    [
        (NO_GPU, False, None, "good", ""),
        (NO_GPU, True, "", "doubtful", "unset CUDA_VISIBLE_DEVICES"),
        ({**NO_GPU, "cuda": None}, True, None, "doubtful", "install torch with CUDA"),
        (NO_GPU, True, None, "doubtful", "nvidia-smi"),
        (gpu(79 * 2**30), True, None, "good", ""),
        (gpu(2**30), True, "0", "doubtful", "nvidia-smi"),
    ],
)
def test_devices(
    facts: dict[str, Any], has_driver: bool, visible: str | None, verdict: str, remedy: str
) -> None:
    (finding,) = judge_devices(facts, has_driver=has_driver, visible=visible)
    assert finding.verdict == verdict
    assert remedy in finding.remedy


def test_each_gpu_shares_or_says_why_not() -> None:
    good, doubtful = judge_device_sharing({"0": "", "1": "CUDA error 201"})
    assert good.verdict == "good"
    assert doubtful.verdict == "doubtful"
    assert "cuda:1: CUDA error 201" in doubtful.what
