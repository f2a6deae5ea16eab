"""What can be seen of this host in a few milliseconds, and whether it is good for a run."""

from __future__ import annotations

import os
import shutil
import socket

from dni_async.files.scratch import make_scratch
from dni_async.launcher.plan.host.finding import Finding
from dni_async.launcher.plan.host.findings import judge_cores, judge_loopback, judge_temporary
from dni_async.system.machine import available_cores, cgroup_quota

__all__ = ["look_at_cores", "look_at_loopback", "look_at_temporary"]

LOOPBACK_S = 2.0


def look_at_temporary() -> Finding:
    """Whether a run can make a folder for its sockets, and where."""
    try:
        made = make_scratch()
    except OSError as error:
        return judge_temporary(None, error.filename, error.strerror or str(error))
    shutil.rmtree(made.path, ignore_errors=True)
    return judge_temporary(made)


def look_at_loopback() -> Finding:
    """Whether a process here can reach another one by tcp."""
    try:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(1)
            with socket.create_connection(listening.getsockname(), LOOPBACK_S):
                return judge_loopback("")
    except OSError as error:
        return judge_loopback(error.strerror or str(error))


def look_at_cores() -> Finding:
    """How many this process may use, and whether a quota leaves them whole."""
    present = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else present
    return judge_cores(
        counted=available_cores(), present=present, affinity=affinity, quota=cgroup_quota()
    )
