"""What false members flood that are not to disturb the run: it takes as much as a launcher does.

So a run beside it shares the machine with the same flood, and is told nothing of it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dni_async.errors import DniError, LinkError, WireError
from dni_async.launcher.coordination.pace import A_TURN, FLOOD_S
from dni_async.transport.channels import ControlServer
from dni_async.transport.keys import read_keys
from dni_async.transport.sockets import open_sockets
from dni_async.wire.messages import Heartbeat, Join

__all__ = ["decoy"]


@contextmanager
def decoy(keys: Path) -> Iterator[str]:
    """Its address, where members with these keys are let in; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.workloads.attacks.decoy", str(keys)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise DniError("hostile: the decoy does not listen")
        yield address
    finally:
        process.kill()
        process.wait()


def main(keys: str) -> None:
    """Listen until it is killed; the first line says where."""
    with open_sockets(read_keys(Path(keys), "coordinator")) as sockets:
        control = sockets.control_server("tcp://127.0.0.1:0")
        print(control.endpoint, flush=True)
        while True:
            for _ in range(A_TURN):
                if not _hear(control):
                    break
            time.sleep(FLOOD_S)


def _hear(control: ControlServer) -> bool:
    """One word, if there is any; who joins is told that somebody is here."""
    try:
        received = control.receive()
        if received is not None and isinstance(received[1], Join):
            control.offer(received[0], Heartbeat("decoy"))
    except (LinkError, WireError):
        return True
    return received is not None


if __name__ == "__main__":
    main(*sys.argv[1:])
