"""What happens outside becomes events; much of it at once holds nothing else up."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dni_async.launcher.coordination.outside import MAX_HEARD, Outside
from dni_async.launcher.decisions.events import Heard, PartHeard, Reached, Refused
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.transport.channels import ControlClient
from dni_async.transport.sockets import Poller, Sockets, open_sockets
from dni_async.wire.messages import (
    PROTOCOL,
    Alive,
    Assigned,
    Bye,
    FilePart,
    Heartbeat,
    Hello,
    Start,
)

PATIENCE_S = 10.0
PART = FilePart("run", 0, "weights", 0, b"bytes", is_last=True)


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Sockets of one context, closed after the test."""
    with open_sockets() as opened:
        yield opened


@pytest.fixture
def outside(sockets: Sockets, tmp_path: Path) -> Outside:
    """A coordinator's, without processes or actors."""
    control = sockets.control_server(f"ipc://{tmp_path}/control")
    return Outside(control, RunFolder(tmp_path / "run"), None, None)


@pytest.fixture
def worker(sockets: Sockets, outside: Outside) -> ControlClient:
    """A worker's end, which has been heard."""
    client = sockets.control_client(outside.control.endpoint, b"stage-\xff")
    client.send(Alive(1))
    hear(outside, 1)
    return client


def hear(outside: Outside, count: int) -> list[object]:
    """The next so many events, waited for."""
    poller, _ = outside.pollers()
    deadline = time.monotonic() + PATIENCE_S
    found: list[object] = []
    while len(found) < count:
        assert time.monotonic() < deadline, found
        poller.wait(0.1)
        found += outside.hear()
    return found


def await_word(client: ControlClient) -> object:
    """What the coordinator says next."""
    poller = Poller()
    poller.watch(client)
    deadline = time.monotonic() + PATIENCE_S
    while (received := client.receive()) is None:
        assert time.monotonic() < deadline
        poller.wait(0.1)
    return received


def test_words_are_events_that_name_their_connection(
    outside: Outside, worker: ControlClient
) -> None:
    worker.send(Bye("run", 0))
    (event,) = hear(outside, 1)
    assert isinstance(event, Heard)
    assert (event.peer, event.message) == ("stage-\xff", Bye("run", 0))


def test_the_bytes_of_a_file_stay_outside(outside: Outside, worker: ControlClient) -> None:
    worker.send(PART)
    (event,) = hear(outside, 1)
    assert isinstance(event, PartHeard)
    assert (event.run_id, event.stage) == ("run", 0)
    assert outside.part == PART


def test_what_no_worker_says_is_refused(outside: Outside, worker: ControlClient) -> None:
    worker.send(Start("run"))
    worker.socket.send(b"no message")
    told, garbage = hear(outside, 2)
    assert isinstance(told, Refused)
    assert told.why == "Start is not for the coordinator"
    assert isinstance(garbage, Refused)
    assert garbage.peer == "stage-\xff"


def test_a_stage_is_taken_with_the_ticket_that_was_given_for_it(
    outside: Outside, worker: ControlClient
) -> None:
    """A member that was given no stage says Hello for one, with the best that it can guess."""
    said = Hello(PROTOCOL, "run", 1, 7, "host", "tcp://127.0.0.1:1")
    worker.send(said)
    (none,) = hear(outside, 1)
    outside.send("stage-\xff", Assigned("run", 1, 0))
    assigned = await_word(worker)
    assert isinstance(assigned, Assigned)
    worker.send(dataclasses.replace(said, ticket=assigned.ticket[::-1]))
    worker.send(dataclasses.replace(said, ticket=assigned.ticket, incarnation=1))
    worker.send(dataclasses.replace(said, ticket=assigned.ticket))
    guessed, early, right = hear(outside, 3)
    for event in (none, guessed, early):
        assert isinstance(event, Refused)
        assert "Hello without the ticket of stage 1" in event.why
    assert isinstance(right, Heard)
    assert right.message == said  # without the ticket, as it is written down


def test_whoever_sends_much_is_heard_in_turns(outside: Outside, worker: ControlClient) -> None:
    """Else a fast sender of files would keep the loop from everything else."""
    count = 3 * MAX_HEARD
    for _ in range(count):
        worker.send(PART)
    deadline = time.monotonic() + PATIENCE_S
    turns = []
    while sum(turns) < count:
        assert time.monotonic() < deadline
        worker.flush()
        turns.append(sum(1 for _ in outside.hear()))
        if len(turns) == 1:
            worker.flush(0.1)
    assert max(turns) <= MAX_HEARD


def test_a_heartbeat_finds_out_who_is_there_and_tells_of_it_once(
    sockets: Sockets, outside: Outside, worker: ControlClient
) -> None:
    outside.send("stage-\xff", Heartbeat("run"))
    assert list(outside.hear()) == []
    for _ in range(2):
        outside.send("nobody", Heartbeat("run"))
    (broken,) = outside.hear()
    assert isinstance(broken, Reached)
    assert (broken.peer, broken.is_connected) == ("nobody", False)
    client = sockets.control_client(outside.control.endpoint, b"nobody")
    client.send(Alive(2))
    hear(outside, 1)
    outside.send("nobody", Heartbeat("run"))
    (made,) = outside.hear()
    assert isinstance(made, Reached)
    assert made.is_connected
