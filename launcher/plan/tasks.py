"""Processes and threads enough for a run, tried before any process starts."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

from dni_async.errors import ConfigError

__all__ = ["allow_tasks"]

PER_STAGE = 4  # a process, ZeroMQ's two threads in it, one that saves
SPARE = 12  # of the launcher and the fork server, and for what is replaced
MOST = 160  # that are tried: some milliseconds
STACK_BYTES = 2**16


def allow_tasks(num_stages: int) -> None:
    """Try whether so many stages could have their processes and threads.

    ZeroMQ ends a process that gets no thread, so it must not come to that. Raises ConfigError
    where the system allows fewer: a limit of the user's (ulimit -u), or of a container's.
    """
    if not _is_limited():
        return
    needed = min(MOST, PER_STAGE * num_stages + SPARE)
    started = _num_started(needed)
    if started < needed:
        raise ConfigError(
            f"stages: {num_stages} of them need {needed} processes and threads, but only {started} "
            "more are allowed; raise the limit (ulimit -u, or pids of the container), end other "
            "programs, or group the layers into fewer stages"
        )


def _is_limited() -> bool:
    """Whether anything but the system's size says how many there may be."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    return soft != resource.RLIM_INFINITY or Path("/sys/fs/cgroup/pids.max").is_file()


def _num_started(wish: int) -> int:
    """How many threads of those wished for were there at once; they have gone."""
    over = threading.Event()
    threads = [threading.Thread(target=over.wait, daemon=True) for _ in range(wish)]
    started = []
    before = threading.stack_size(STACK_BYTES)
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except RuntimeError:  # it cannot be started
        pass
    finally:
        threading.stack_size(before)
        over.set()
        for thread in started:
            thread.join()
    return len(started)
