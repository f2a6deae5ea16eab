"""Cores and memory: what a container grants, what there is, what was used."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dni_async.system import (
    available_bytes,
    available_cores,
    compute_in_long_slices,
    peak_rss_bytes,
)

ALL = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("max 100000\n", ALL),
        ("100000 100000\n", 1),
        ("50000 100000\n", 1),
        ("150000 100000\n", min(ALL, 2)),
        ("99900000 100000\n", ALL),
        ("", ALL),
        ("nonsense", ALL),
    ],
)
def test_the_quota_is_rounded_up_and_never_more_than_the_affinity(
    tmp_path: Path, content: str, cores: int
) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(content)
    assert available_cores(quota) == cores


def test_no_quota_where_there_are_no_cgroups(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "missing") == ALL


def test_memory_is_counted_in_bytes() -> None:
    for size in (available_bytes(), peak_rss_bytes()):
        assert size is None or size == 0 or 2**20 < size < 2**50


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="needs Linux's scheduler")
def test_a_worker_becomes_a_batch_task_and_so_do_its_threads() -> None:
    pid = os.fork()
    if pid == 0:
        compute_in_long_slices()
        policies: list[int] = []
        thread = threading.Thread(target=lambda: policies.append(os.sched_getscheduler(0)))
        thread.start()
        thread.join()
        os._exit(policies != [os.SCHED_BATCH] or os.sched_getscheduler(0) != os.SCHED_BATCH)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
