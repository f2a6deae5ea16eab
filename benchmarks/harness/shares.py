"""Shares of a core: control groups that hold a process, or a thread of one, to its part of one.

With both versions of control groups, where this process may make some. A group is a folder; its
processor time comes in short turns, as a quota of a long period would come in bursts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.harness.team import undisturbed
from dni_async.errors import ConfigError

__all__ = ["hold_process", "hold_thread", "set_share", "share_of", "shares"]

NAME = "dni-cores"
PERIOD_US, LEAST_US = 10_000, 1_000  # the system takes no shorter quota
PATIENCE_S, LOOK_S = 3.0, 0.02
FILLED = 0.8  # of the cores: the rest is for whoever starts, feeds and tests
_CGROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def share_of(cores: int, count: int) -> float:
    """The part of a core that each of count gets, so that all together leave some to others."""
    return min(1.0, FILLED * cores / count)


def hold_process(group: Path, pid: int) -> None:
    """All threads of a process, and those that it starts from now on. Raises OSError."""
    (group / "cgroup.procs").write_text(str(pid), encoding="ascii")


def hold_thread(group: Path, thread: int) -> None:
    """One thread, which lies in a group of the same share already. Raises OSError."""
    name = "tasks" if (group / "tasks").exists() else "cgroup.threads"
    (group / name).write_text(str(thread), encoding="ascii")


def set_share(group: Path, share: float) -> None:
    """Give a group that part of a core from now on. Raises OSError."""
    quota_us = max(LEAST_US, round(share * PERIOD_US))
    period_us = round(quota_us / share)
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(str(period_us), encoding="ascii")
        (group / "cpu.cfs_quota_us").write_text(str(quota_us), encoding="ascii")
    else:
        (group / "cpu.max").write_text(f"{quota_us} {period_us}", encoding="ascii")


@contextmanager
def shares(
    count: int, share: float, *, root: Path = _CGROUPS, own: Path = _OWN_GROUPS
) -> Iterator[list[Path]]:
    """count groups of share of a core each, which are gone after the block.

    Raises ConfigError, in one sentence, where this process may not make them.
    """
    place = _place(root, own)
    _remove_stale(place)
    folder = place / f"{NAME}-{os.getpid()}"
    groups = [folder / f"core-{index}" for index in range(count)]
    try:
        with undisturbed():
            _make(folder, groups, share)
        yield groups
    finally:
        with undisturbed():
            _remove(folder)


def _place(root: Path, own: Path) -> Path:
    """The group that ours are made in: this process's own, or with version 2 the nearest above it
    that hands the cores on. Raises ConfigError.
    """
    for line in own.read_text(encoding="utf-8").splitlines() if own.exists() else []:
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            for folder in (root / "cpu" / path.strip("/"), root / "cpu"):
                if (folder / "cpu.cfs_quota_us").exists():
                    return folder
        elif not controllers:
            folder = root / path.strip("/")
            for each in (folder, *folder.parents):
                if each.is_relative_to(root) and _hands_on(each):
                    return each
    raise ConfigError(f"cores: no control group in {root} that shares out cores is known here")


def _hands_on(group: Path) -> bool:
    """Whether a group of version 2 shares out cores, and lets this process make groups in it."""
    with suppress(OSError):
        told = (group / "cgroup.subtree_control").read_text(encoding="ascii").split()
        return "cpu" in told and os.access(group, os.W_OK)
    return False


def _make(folder: Path, groups: list[Path], share: float) -> None:
    """Raises ConfigError."""
    try:
        folder.mkdir()
        if (folder / "cgroup.subtree_control").exists():
            (folder / "cgroup.subtree_control").write_text("+cpu", encoding="ascii")
        for group in groups:
            group.mkdir()
            if (group / "cgroup.type").exists():  # else it would take no single thread
                (group / "cgroup.type").write_text("threaded", encoding="ascii")
            set_share(group, share)
    except OSError as error:
        raise ConfigError(
            f"cores: shares of a core need control groups, and {error.filename or folder} cannot "
            f"be written ({error.strerror}); run it as root, or where a user may make them"
        ) from None


def _remove_stale(place: Path) -> None:
    """Those of a process that was killed."""
    for folder in place.glob(f"{NAME}-*"):
        pid = folder.name.removeprefix(f"{NAME}-")
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            _remove(folder)


def _remove(folder: Path) -> None:
    """With whoever is left in them set free; one that dies leaves its group a moment later."""
    if not folder.exists():
        return
    deadline = time.monotonic() + PATIENCE_S
    for group in [*(each for each in folder.iterdir() if each.is_dir()), folder]:
        _set_free(group, folder.parent)
        while group.exists():
            try:
                group.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    break
                time.sleep(LOOK_S)


def _set_free(group: Path, place: Path) -> None:
    with suppress(OSError):
        for pid in (group / "cgroup.procs").read_text(encoding="ascii").split():
            with suppress(OSError):
                hold_process(place, int(pid))
