"""Cores and memory: what a container grants, what there is, what was used."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import psutil
import pytest

from dni_async.system import machine
from dni_async.system.machine import (
    CoreUse,
    available_bytes,
    available_cores,
    cgroup_quota,
    compute_in_long_slices,
    core_use,
    group_seconds,
    has_nvidia_device,
    idle_ticks,
    peak_rss_bytes,
    rss_bytes,
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
        ("nonsense 100000", ALL),
        ("100000 0", ALL),
    ],
)
def test_the_quota_is_rounded_up_and_never_more_than_the_affinity(
    tmp_path: Path, content: str, cores: int
) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert available_cores(tmp_path, tmp_path / "own") == cores


def test_no_quota_where_there_are_no_cgroups(tmp_path: Path) -> None:
    assert available_cores(tmp_path, tmp_path / "own") == ALL


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """A root of control groups, none of which limits anything."""
    (tmp_path / "cpu.max").write_text("max 100000\n")
    return tmp_path


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({}, "0::/\n", None),
        ({"cpu.max": "150000 100000"}, "0::/\n", 1.5),
        ({"a/cpu.max": "max 100000", "a/b/cpu.max": "400000 100000"}, "0::/a/b\n", 4.0),
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "400000 100000"}, "0::/a/b\n", 2.0),
        ({"a/cpu.max": "100000 100000"}, "0::/b\n", None),
        (
            {"cpu/x/cpu.cfs_quota_us": "50000", "cpu/x/cpu.cfs_period_us": "100000"},
            "4:cpu,cpuacct:/x\n",
            0.5,
        ),
        (
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            "4:cpu,cpuacct:/\n",
            None,
        ),
        ({"cpu.max": "150000 100000"}, "0::/../../outside\n", 1.5),
    ],
)
def test_the_quota_is_the_least_of_all_groups_above(
    groups: Path, files: dict[str, str], own: str, expected: float | None
) -> None:
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    (groups / "own").write_text(own)
    assert cgroup_quota(groups, groups / "own") == expected


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path, tmp_path / "own") is None


@pytest.mark.parametrize(
    ("name", "text"),
    [("cpu.stat", "usage_usec 2500000\nuser_usec 9\n"), ("cpuacct.usage", "2500000000\n")],
)
def test_what_a_group_has_used_is_told_by_both_versions(
    tmp_path: Path, name: str, text: str
) -> None:
    assert group_seconds(tmp_path) is None
    (tmp_path / name).write_text(text)
    assert group_seconds(tmp_path) == pytest.approx(2.5)


def test_memory_is_counted_in_bytes() -> None:
    for size in (available_bytes(), peak_rss_bytes(), rss_bytes()):
        assert size is None or size == 0 or 2**20 < size < 2**50
    assert rss_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)


@pytest.mark.skipif(available_bytes() is None, reason="the system does not say")
@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_memory_is_no_more_than_the_cgroup_s(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("1048576\n")
    assert available_bytes(tmp_path) == 2**20
    (tmp_path / name).write_text("max\n")
    size = available_bytes(tmp_path)
    assert size is not None
    assert size > 2**20


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


NOTHING = CoreUse(at_s=100.0, num_cores=4, limit=4, idle_s=50.0, own_s=7.0)
UNDER_QUOTA = CoreUse(at_s=100.0, num_cores=4, limit=2, idle_s=50.0, own_s=7.0, group_s=9.0)


@pytest.mark.parametrize(
    ("before", "after", "others"),
    [
        (NOTHING, CoreUse(102.0, 4, 4, 58.0, 7.0), 0.0),  # all idle
        (NOTHING, CoreUse(102.0, 4, 4, 50.0, 15.0), 0.0),  # all ours
        (NOTHING, CoreUse(102.0, 4, 4, 52.0, 10.0), 1.5),  # 6 s busy, 3 of them ours
        (NOTHING, CoreUse(102.0, 4, 4, 57.0, 9.0), 0.0),  # ticks do not add up to a core more
        (NOTHING, CoreUse(102.0, 4, 4, 58.0, 6.0), 0.0),  # a child was lost with what it used
        (NOTHING, CoreUse(100.2, 4, 4, 50.0, 7.0), None),  # too short to tell
        (UNDER_QUOTA, CoreUse(102.0, 4, 2, 54.0, 10.0, 13.0), 0.5),  # 1 s in the container
        (UNDER_QUOTA, CoreUse(102.0, 4, 2, 50.0, 10.0, 12.0), 0.5),  # 5 s without, 4 of them free
        (UNDER_QUOTA, CoreUse(102.0, 4, 2, 52.0, 10.0, None), 0.0),  # 3 s, 4 are free
    ],
)
def test_others_are_what_was_neither_idle_nor_ours(
    before: CoreUse, after: CoreUse, others: float | None
) -> None:
    assert after.others_since(before) == others


@pytest.mark.parametrize(
    ("content", "ticks"),
    [
        ("cpu  9 9\ncpu0 1 2 3 40 5 6 7 8 0 0\ncpu1 1 2 3 20 0 0 0 8 0 0\nintr 5\n", 58 + 20),
        ("cpu  9 9\ncpu0 1 2 3 40 5 6 7 8 0 0\n", None),
        ("cpu  0 0\ncpu0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0\n", None),
        ("cpu0 x\ncpu1 y\n", None),
    ],
    ids=["two cores", "one of them", "a sandbox", "nonsense"],
)
def test_what_the_system_does_not_tell_of_cores_is_not_made_up(
    tmp_path: Path, content: str, ticks: int | None
) -> None:
    told = tmp_path / "stat"
    told.write_text(content)
    if ticks is None:
        with pytest.raises(ValueError):  # noqa: PT011
            idle_ticks({0, 1}, told)
    else:
        assert idle_ticks({0, 1}, told) == ticks


@pytest.mark.skipif(core_use() is None, reason="needs Linux's account of cores and children")
def test_what_a_child_has_used_is_ours_when_it_has_ended_too() -> None:
    before = core_use()
    pid = os.fork()
    if pid == 0:
        while time.process_time() < 0.2:
            pass
        os._exit(0)
    os.waitpid(pid, 0)
    after = core_use()
    assert before is not None
    assert after is not None
    assert after.own_s - before.own_s >= 0.15
    assert after.idle_s >= before.idle_s


def test_a_driver_shows_itself_by_any_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In WSL2 there is its library alone."""
    paths = [str(tmp_path / name) for name in ("version", "nvidiactl", "libcuda.so.1")]
    monkeypatch.setattr(machine, "_NVIDIA_PATHS", paths)
    assert not has_nvidia_device()
    Path(paths[-1]).touch()
    assert has_nvidia_device()
