"""A member with the run's keys that says all it can, as fast as it is taken."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from benchmarks.workloads.attacks.forgeries import all_kinds
from dni_async.errors import DniError
from dni_async.transport.channels import ControlClient
from dni_async.transport.keys import read_keys
from dni_async.transport.sockets import Poller, open_sockets
from dni_async.wire.messages import PROTOCOL, Alive, Heartbeat, Join, Message

__all__ = ["FalseMembers", "false_members"]

NUM_CONNECTIONS = 4  # every second one joins, and is a spare
PATIENCE_S = 10.0
AT_ONCE = 256  # messages to one connection before the next has a turn


@dataclass(slots=True)
class FalseMembers:
    """What they have been able to say. offered: messages that the connections took."""

    offered: int = 0


@contextmanager
def false_members(endpoint: str, keys: Path) -> Iterator[FalseMembers]:
    """Let them flood the coordinator there, within the block; what they told is known after it."""
    told = FalseMembers()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.workloads.attacks.false_member", endpoint, str(keys)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise DniError("hostile: the false members were not heard")
        yield told
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=PATIENCE_S)
        told.offered = json.loads(out)["offered"]
    finally:
        process.kill()
        process.wait()


def main(endpoint: str, keys: str) -> None:
    """Flood until SIGTERM; a line when that begins, and one of how much it was."""
    is_over = False

    def stop(_signum: int, _frame: FrameType | None) -> None:
        nonlocal is_over
        is_over = True

    signal.signal(signal.SIGTERM, stop)
    with open_sockets(read_keys(Path(keys), "worker")) as sockets:
        names = [f"join-{secrets.token_hex(4)}" for _ in range(NUM_CONNECTIONS)]
        clients = [sockets.control_client(endpoint, name.encode()) for name in names]
        run_id = _join(clients[0])
        for client in clients[2::2]:
            client.send(_offer())
        messages = itertools.cycle(_all_words(run_id))
        print("begins", flush=True)
        offered, poller = 0, Poller()
        while not is_over:
            before = offered
            for client in clients:
                offered += _offer_many(client, messages)
            if offered == before:
                poller.wait(0.01)
        print(json.dumps({"offered": offered}), flush=True)
        for client in clients:
            sockets.close(client)


def _offer_many(client: ControlClient, messages: Iterator[Message]) -> int:
    """As much as the connection takes now; and what it is told is read."""
    while client.receive() is not None:
        pass
    return sum(1 for _ in itertools.takewhile(client.offer, itertools.islice(messages, AT_ONCE)))


def _all_words(run_id: str) -> list[Message]:
    """Of every kind, for every stage of four; and those of a spare."""
    words = [word for stage in range(4) for word in all_kinds(run_id, stage, epoch=1)]
    return [*words, _offer(), Alive(os.getpid())]


def _offer() -> Join:
    """For a stage that is hosted: it stays a spare."""
    token = secrets.token_hex(8)
    return Join(PROTOCOL, os.getpid(), "host", "machine", 8, 0, "cpu", 0, False, token)


def _join(client: ControlClient) -> str:
    """Be a spare; the run's id, as a heartbeat tells it."""
    client.send(_offer())
    poller = Poller()
    poller.watch(client)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        heard = client.receive()
        if isinstance(heard, Heartbeat):
            return heard.run_id
        poller.wait(0.1)
    raise DniError("the coordinator was not heard")


if __name__ == "__main__":
    main(*sys.argv[1:])
