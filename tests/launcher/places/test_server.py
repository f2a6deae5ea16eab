"""What fork servers leave behind is forgotten when it ends, and nothing of anybody else's."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dni_async.launcher.places.exits import adopted, state_of
from dni_async.launcher.places.local import worker_processes
from dni_async.launcher.places.server import ForkServer, ForkServers
from dni_async.system.machine import adopt_orphans

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nobody is adopted elsewhere")
PATIENCE_S = 10.0
SERVER = """
import os, signal, socket, sys
launcher = socket.socket(fileno=int(sys.argv[1]))
child = os.fork()
if not child:
    launcher.close()
    signal.pause()
launcher.sendall(b'{"ready": true}\\n{"started": 0, "incarnation": 0, "pid": %d}\\n' % child)
while launcher.recv(4096):
    pass
"""


@pytest.fixture
def servers() -> Iterator[ForkServers]:
    """Fork servers that each have one worker, which only waits."""
    before = adopt_orphans(is_on=True)
    try:
        with selectors.DefaultSelector() as selector:
            yield ForkServers(_begin, selector, lambda text: None, str)
    finally:
        adopt_orphans(is_on=before)


def _begin() -> ForkServer:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-c", SERVER, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
    return ForkServer(process, ours)


def wait_for(look: Callable[[], bool]) -> None:
    """Until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def hear_started(servers: ForkServers) -> int:
    """The pid of the next worker that is told of."""
    told: list[int] = []

    def look() -> bool:
        told.extend(each["pid"] for each in servers.hear() if "started" in each)
        return bool(told)

    wait_for(look)
    return told[0]


def _swept(servers: ForkServers, pid: int) -> bool:
    servers.sweep([])
    return state_of(pid) == ""


def test_an_orphan_that_ends_is_forgotten_once_its_end_was_told_and_a_users_own_child_never(
    servers: ForkServers,
) -> None:
    users = [
        subprocess.Popen(["sh", "-c", "exit 7"], start_new_session=is_apart)
        for is_apart in (False, True)
    ]
    worker = hear_started(servers)
    session = os.getsid(worker)
    os.kill(session, signal.SIGKILL)
    second = hear_started(servers)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: state_of(worker) == "Z" and all(state_of(u.pid) == "Z" for u in users))
    assert adopted([session]) == [worker]
    servers.sweep([worker])
    assert state_of(worker) == "Z"  # its end is not told yet
    wait_for(lambda: _swept(servers, worker))
    servers.end({}, 5.0)
    assert [state_of(pid) for pid in (session, second)] == ["", ""]
    assert [user.wait() for user in users] == [7, 7]


def test_what_a_dead_server_has_left_is_gone_in_the_end(servers: ForkServers) -> None:
    worker = hear_started(servers)
    os.kill(os.getsid(worker), signal.SIGKILL)
    second = hear_started(servers)
    os.kill(os.getsid(second), signal.SIGSTOP)
    servers.end({}, 0.1)
    assert [state_of(pid) for pid in (worker, second)] == ["", ""]


def test_a_users_process_adopts_orphans_no_longer_than_its_run(tmp_path: Path) -> None:
    was_on = adopt_orphans(is_on=False)
    with worker_processes(1, tmp_path / "log"):
        assert adopt_orphans(is_on=True)
    assert not adopt_orphans(is_on=was_on)
