"""Where a stage listens, and what others are told of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dni_async.system.machine import place_id
from dni_async.transport.sockets import open_sockets
from dni_async.workers.startup.listening import InboxAddress, inbox_beside, inbox_on
from tests.transport.ring import lone_ring


@pytest.mark.parametrize(
    ("coordinator", "expected"),
    [
        ("ipc:///a/folder/control", "ipc:///a/folder/stage-1"),
        ("tcp://127.0.0.1:40001", "tcp://127.0.0.1:0"),
        ("tcp://192.0.2.2:40001", "tcp://192.0.2.2:0"),
    ],
)
def test_beside_the_coordinator(coordinator: str, expected: str) -> None:
    assert inbox_beside(coordinator, "stage-1") == InboxAddress(expected)


def test_every_incarnation_below_has_a_socket_file_of_its_own(tmp_path: Path) -> None:
    inbox = InboxAddress(f"ipc://{tmp_path}/stage-1.4")
    with open_sockets() as sockets:
        for incarnation, name in ((0, "stage-1.4"), (3, "stage-1.4,3")):
            link = inbox.open(sockets, incarnation)
            assert link.endpoint == inbox.told(link) == f"ipc://{tmp_path}/{name}"
            link.close()


def test_what_is_told_is_what_others_can_reach() -> None:
    inbox = inbox_on("127.0.0.1", "head.example")
    with open_sockets(lone_ring()) as sockets:
        link = inbox.open(sockets, 2)
        port = link.endpoint.rpartition(":")[2]
        assert inbox.told(link) == f"tcp://head.example:{port}"
        assert inbox.place == place_id() != ""
        assert inbox_on("127.0.0.1", "127.0.0.1").told(link) == link.endpoint
        link.close()


def test_every_incarnation_below_has_names_and_keys_that_nobody_can_foretell() -> None:
    """Names without a file are seen by all users of the host, who could take the next one."""
    inbox = inbox_on("127.0.0.1", "")
    with open_sockets(lone_ring()) as sockets:
        links = [inbox.open(sockets, incarnation) for incarnation in (0, 1, 1)]
        told = [(link.channel.near, link.slots_at, link.key) for link in links]
        for link in links:
            link.close()
    assert all(len(set(each)) == 3 for each in zip(*told, strict=True))
    stems = [re.sub(r"^ipc://", "", near) for near, _, _ in told] + [at for _, at, _ in told]
    assert len(set(stems)) == 6
    assert all(re.fullmatch(r"@dni-[0-9a-f]{32}", stem) for stem in stems)
