"""What is said of a host, by the launcher and the doctor alike."""

from __future__ import annotations

import pytest

from dni_async.files.scratch import Scratch
from dni_async.launcher.plan.host.finding import Finding
from dni_async.launcher.plan.host.findings import (
    judge_cores,
    judge_loopback,
    judge_memory,
    judge_temporary,
    judge_threads,
)

MOVED = Scratch("/tmp/dni-1", (("/long", "it is too long"),))
VERDICTS: dict[str, tuple[Finding, str, str]] = {
    "a folder": (judge_temporary(Scratch("/tmp/dni-1")), "good", ""),
    "another folder": (judge_temporary(MOVED), "good", ""),
    "no folder": (judge_temporary(None, "/x", "Permission denied"), "bad", "TMPDIR"),
    "loopback": (judge_loopback(""), "good", ""),
    "no loopback": (judge_loopback("unreachable"), "bad", "ip link"),
    "a part of a core": (
        judge_cores(counted=1, present=2, affinity=2, quota=0.3),
        "doubtful",
        "cpuset",
    ),
    "no memory": (judge_memory(2**20), "bad", "fewer --stages"),
    "spinning": (judge_threads({"GOMP_SPINCOUNT": "100"})[0], "bad", "unset GOMP_SPINCOUNT"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_on(name: str) -> None:
    finding, verdict, remedy = VERDICTS[name]
    assert finding.verdict == verdict
    assert remedy in finding.remedy
    assert bool(finding.remedy) == (verdict != "good")


def test_the_folder_that_was_taken_and_why() -> None:
    assert judge_temporary(MOVED).what == "/tmp (not /long: it is too long)"
