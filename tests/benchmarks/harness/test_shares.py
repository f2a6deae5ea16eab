"""Shares of a core: what is in a group, what it may take, and that no group stays."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.shares import hold_process, hold_thread, set_share, share_of, shares
from dni_async.errors import ConfigError

NOBODY = "dni-cores-4194305"  # more than the highest number of a process


@pytest.fixture
def place() -> Path:
    """Where groups are made here; a test is skipped where none may be."""
    try:
        with shares(1, 0.5) as (group,):
            return group.parent.parent
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits for its input to end."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def limit(group: Path) -> float:
    """The part of a core that a group may have."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        if (group / names[0]).exists():
            quota, period = " ".join((group / name).read_text() for name in names).split()
            return int(quota) / int(period)
    raise AssertionError(f"{group} has no limit")


def ours(place: Path) -> set[str]:
    """The groups of this process."""
    return {each.name for each in place.glob(f"dni-cores-{os.getpid()}")}


def test_all_shares_leave_some_of_the_cores_to_others() -> None:
    assert share_of(2, 4) == 0.4
    assert share_of(2, 16) == 0.1
    assert share_of(64, 4) == 1.0


def test_a_group_is_given_another_share(place: Path) -> None:
    with shares(1, 0.4) as (group,):
        set_share(group, 0.1)
        assert limit(group) == pytest.approx(0.1)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.05])
def test_a_group_has_its_share(place: Path, share: float) -> None:
    with shares(2, share) as groups:
        assert [limit(group) for group in groups] == pytest.approx([share, share])
        assert ours(place)
    assert not ours(place)


def test_a_process_and_a_thread_of_it_are_held(place: Path) -> None:
    is_over = threading.Event()
    thread = threading.Thread(target=is_over.wait)
    thread.start()
    assert thread.native_id is not None
    with shares(2, 0.5) as (first, second):
        try:
            hold_process(first, os.getpid())
            hold_thread(second, thread.native_id)
            name = "tasks" if (first / "tasks").exists() else "cgroup.threads"
            assert str(os.getpid()) in (first / name).read_text().split()
            assert (second / name).read_text().split() == [str(thread.native_id)]
        finally:
            hold_process(place, os.getpid())
            is_over.set()
            thread.join()
    assert not ours(place)


def test_who_is_left_is_set_free(place: Path, sleeper: subprocess.Popen[bytes]) -> None:
    with shares(1, 0.5) as (group,):
        hold_process(group, sleeper.pid)
    assert not ours(place)
    assert sleeper.poll() is None


def test_a_signal_meanwhile_leaves_no_group(place: Path) -> None:
    with pytest.raises(KeyboardInterrupt), shares(2, 0.5):
        signal.raise_signal(signal.SIGINT)
    assert not ours(place)


def test_groups_of_a_process_that_was_killed_are_removed(place: Path) -> None:
    (place / NOBODY / "core-0").mkdir(parents=True)
    with shares(1, 0.5):
        assert not (place / NOBODY).exists()


def test_where_there_are_no_groups_one_sentence_says_so(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/mine\n")
    with (
        pytest.raises(ConfigError, match="that shares out cores is known here"),
        shares(1, 0.5, root=tmp_path, own=own),
    ):
        pass


def test_of_version_2_the_nearest_group_that_hands_cores_on_holds_ours(tmp_path: Path) -> None:
    """Folders stand in for groups: the files in them are what is written."""
    for folder, told in (("", "cpu io"), ("user", "cpu"), ("user/mine", "")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "cgroup.subtree_control").write_text(told)
    own = tmp_path / "cgroup"
    own.write_text("0::/user/mine\n")
    with shares(1, 0.25, root=tmp_path, own=own) as (group,):
        assert group.parent.parent == tmp_path / "user"
        assert (group / "cpu.max").read_text() == "2500 10000"
        (group / "cpu.max").unlink()  # a real group takes its files along
    assert not group.parent.exists()
