"""Files that a worker sends: only those of its own folder, in parts, and gone afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dni_async.transport.channels import ControlServer
from dni_async.transport.sockets import MAX_UNSENT, MAX_WAITING, Poller, open_sockets
from dni_async.wire.messages import MAX_PART_BYTES, Bye, FilePart, Message
from dni_async.workers.startup.file_courier import PARTS_AT_ONCE, FileCourier

PATIENCE_S = 10.0


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[FileCourier, ControlServer]]:
    """A worker's courier, and the coordinator that hears it."""
    with open_sockets() as sockets:
        server = sockets.control_server(f"ipc://{tmp_path}/control")
        control = sockets.control_client(server.endpoint, b"stage-2")
        yield FileCourier(control, "run", 2, tmp_path / "carried"), server


def heard_any(server: ControlServer, courier: FileCourier | None = None) -> Message:
    """The next message; courier goes on meanwhile: a full connection takes more a while later."""
    poller = Poller()
    poller.watch(server)
    deadline = time.monotonic() + PATIENCE_S
    while (received := server.receive()) is None:
        assert time.monotonic() < deadline, "nothing came"
        if courier is not None:
            courier.push()
        poller.wait(0.05)
    return received[1]


def heard(server: ControlServer) -> FilePart:
    """The next part."""
    message = heard_any(server)
    assert isinstance(message, FilePart)
    return message


def test_a_file_is_sent_in_parts_and_removed(
    ends: tuple[FileCourier, ControlServer], tmp_path: Path
) -> None:
    courier, server = ends
    content = bytes(range(256)) * (MAX_PART_BYTES // 256) + b"the rest"
    path = tmp_path / "carried" / "weights.safetensors"
    path.write_bytes(content)
    courier.send("weights", path)
    courier.push()
    assert courier.is_done
    first, second = heard(server), heard(server)
    assert first.data + second.data == content
    assert [first.is_last, second.is_last] == [False, True]
    assert (second.kind, second.stage, second.run_id) == ("weights", 2, "run")
    assert not path.exists()


def test_what_is_not_there_or_not_its_own_is_not_sent(
    ends: tuple[FileCourier, ControlServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    courier, server = ends
    monkeypatch.chdir(tmp_path)
    foreign = tmp_path / "stage-2.json"
    foreign.write_text("a user's")
    courier.send("profile", Path("stage-2.json"))  # no folder for profiles was asked for
    courier.send("profile", tmp_path / "carried" / "stage-2.json")
    mine = tmp_path / "carried" / "mine"
    mine.write_bytes(b"")
    courier.send("events", mine)
    courier.push()
    only = heard(server)
    assert (only.kind, only.data, only.is_last) == ("events", b"", True)
    assert server.receive() is None
    assert foreign.read_text() == "a user's"


def test_a_large_file_takes_turns_and_waits_for_a_coordinator_that_does_not_read(
    ends: tuple[FileCourier, ControlServer], tmp_path: Path
) -> None:
    """So neither the loop that sends it stands still, nor the file lies in memory."""
    courier, server = ends
    num_parts = 4 * (MAX_UNSENT + MAX_WAITING)  # more than both ends of the connection hold
    path = tmp_path / "carried" / "weights.safetensors"
    path.write_bytes(bytes(num_parts * MAX_PART_BYTES))
    courier.send("weights", path)
    courier.tell(Bye("run", 2))
    courier.push()
    assert not courier.is_done
    for _ in range(num_parts // PARTS_AT_ONCE + 1):  # as many turns as would do
        courier.push()
    assert not courier.is_done
    received: list[Message] = []
    while not courier.is_done:
        received.append(heard_any(server, courier))
        courier.push()
    while not isinstance(received[-1], Bye):
        received.append(heard_any(server))
    assert len(received) == num_parts + 1
    assert not path.exists()
