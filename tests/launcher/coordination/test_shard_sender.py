"""Shards go to workers a few parts at a time, as far as these read them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dni_async.launcher.coordination.shard_sender import PARTS_AT_ONCE, ShardSender
from dni_async.transport.channels import ControlClient, ControlServer
from dni_async.transport.sockets import MAX_UNSENT, Poller, open_sockets
from dni_async.wire.messages import MAX_PART_BYTES, Alive, FilePart

PATIENCE_S = 10.0
NUM_PARTS = 20 * MAX_UNSENT


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[ControlServer, ControlClient]]:
    """A coordinator's end and that of a worker who is known to it as stage-1."""
    with open_sockets() as sockets:
        server = sockets.control_server(f"ipc://{tmp_path}/control")
        client = sockets.control_client(server.endpoint, b"stage-1")
        client.send(Alive(1))
        receive(server)
        yield server, client
        sockets.close(client)


def receive(end: ControlServer | ControlClient, sender: ShardSender | None = None) -> object:
    """What comes next; sender goes on meanwhile, as a full connection takes more a while later."""
    poller = Poller()
    poller.watch(end)
    deadline = time.monotonic() + PATIENCE_S
    while (received := end.receive()) is None:
        assert time.monotonic() < deadline, "nothing came"
        if sender is not None:
            sender.push()
        poller.wait(0.1)
    return received


def test_a_large_shard_takes_turns_and_waits_for_a_worker_that_does_not_read(
    ends: tuple[ControlServer, ControlClient], tmp_path: Path
) -> None:
    server, client = ends
    path = tmp_path / "shard"
    path.write_bytes(bytes(range(256)) * (NUM_PARTS * MAX_PART_BYTES // 256))
    sender = ShardSender(server, "run", pytest.fail)
    assert sender.is_done
    sender.send(b"stage-1", 1, path)
    for _ in range(NUM_PARTS // PARTS_AT_ONCE + 1):  # as many turns as would do
        sender.push()
    assert not sender.is_done
    data = b""
    is_last = False
    while not is_last:
        part = receive(client, sender)
        assert isinstance(part, FilePart)
        data, is_last = data + part.data, part.is_last
    assert data == path.read_bytes()
    sender.push()
    assert sender.is_done


def test_what_cannot_be_read_is_told(
    ends: tuple[ControlServer, ControlClient], tmp_path: Path
) -> None:
    told: list[str] = []
    sender = ShardSender(ends[0], "run", told.append)
    sender.send(b"stage-1", 1, tmp_path / "nothing")
    sender.push()
    assert told == ["stage 1: its shard cannot be read: No such file or directory"]
    assert sender.is_done


def test_who_has_gone_is_sent_nothing_more(
    ends: tuple[ControlServer, ControlClient], tmp_path: Path
) -> None:
    path = tmp_path / "shard"
    path.write_bytes(b"bytes")
    sender = ShardSender(ends[0], "run", pytest.fail)
    sender.send(b"stage-7", 7, path)
    sender.push()
    assert sender.is_done
