"""What a simulated run has of this machine: a folder in memory, and a clock that is the world's."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any

from dni_async.config.run_config import RunConfig
from dni_async.workers.reporting import progress
from tests.simulation.world import World

__all__ = ["one_folder_for_all", "ruled_by", "scratch", "sweep"]

PREFIX = "dni-simulation-"
MEMORY_BYTES = 200_000_000  # of every process


@contextmanager
def ruled_by(world: World) -> Iterator[None]:
    """Within the block the program's clock is the world's, and every process holds as much.

    So a run leaves the same bytes each time. Nor does Python look for what could be freed, and
    settings that all workers are told are read once: a run is over sooner.
    """
    clock: Any = lambda: world.now  # noqa: E731
    memory: Any = lambda: MEMORY_BYTES  # noqa: E731
    put = [
        (time, "perf_counter", clock),
        (time, "monotonic", clock),
        (time, "process_time", clock),
        (progress, "rss_bytes", memory),
        (progress, "peak_rss_bytes", memory),
        (RunConfig, "from_dict", _read_once()),
    ]
    kept = [getattr(where, name) for where, name, _ in put]
    collects = gc.isenabled()
    gc.disable()
    for where, name, value in put:
        setattr(where, name, value)
    try:
        yield
    finally:
        for (where, name, _), value in zip(put, kept, strict=True):
            setattr(where, name, value)
        if collects:
            gc.enable()


def _read_once() -> Callable[[Mapping[str, Any]], RunConfig]:
    """As RunConfig.from_dict, which gives the same for the same."""
    read, known = RunConfig.from_dict, dict[str, RunConfig]()

    def from_dict(values: Mapping[str, Any]) -> RunConfig:
        key = repr(values)
        if key not in known:
            known[key] = read(values)
        return known[key]

    return from_dict


class _Place:
    """Where folders are made. within: in which one, if all are to lie there."""

    within: Path | None = None
    is_swept = False


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory, where that is to be had; it is locked as long as somebody is at it."""
    if _Place.within is not None:
        path, lock = Path(mkdtemp(dir=_Place.within)), None
    else:
        if not _Place.is_swept:
            _Place.is_swept = True
            sweep(_memory())
        path, lock = _locked(_memory())
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def one_folder_for_all() -> Iterator[None]:
    """Within the block all folders, also those of processes that are forked, lie in one, which is
    removed at its end.
    """
    with scratch() as folder:
        _Place.within = folder
        try:
            yield
        finally:
            _Place.within = None


def sweep(root: Path) -> None:
    """Remove from root the folders of those who were killed: nobody holds their locks."""
    for path in root.glob(f"{PREFIX}*"):
        with suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _memory() -> Path:
    return Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else gettempdir())


def _locked(root: Path) -> tuple[Path, int]:
    """A new folder in root, and the descriptor that locks it."""
    while True:
        path = Path(mkdtemp(prefix=PREFIX, dir=root))
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():  # it was not swept before it was locked
            return path, lock
        os.close(lock)
