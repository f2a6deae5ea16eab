"""Slots: one memory at both ends, handed over sealed or not taken."""

from __future__ import annotations

import os
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from dni_async import LinkError
from dni_async.transport.slots.handover import SlotListener
from dni_async.transport.slots.host import HostSlots, can_share_memory, hand_over, make_slots
from dni_async.transport.slots.interface import SharedSlots
from dni_async.wire.messages import TensorMeta

pytestmark = pytest.mark.skipif(not can_share_memory(), reason="needs sealed anonymous files")

SLOT_BYTES, NUM_SLOTS = 5000, 3  # more than a page, and no whole number of pages
META = TensorMeta("float32", (5, 250), 1)


def open_descriptors() -> list[str]:
    """What this process holds open."""
    return sorted(os.listdir("/proc/self/fd"))


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[SlotListener]:
    """The upper end, not very patient; after the test, no descriptor is left open."""
    before = open_descriptors()
    listener = SlotListener(str(tmp_path / "slots"), timeout_s=0.05)
    yield listener
    listener.close()
    assert open_descriptors() == before


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the listener is."""
    return str(tmp_path / "slots")


def handed_over(listener: SlotListener, path: str) -> tuple[HostSlots, SharedSlots]:
    """The same slots at both ends."""
    ours, fd = make_slots(SLOT_BYTES, NUM_SLOTS)
    hand_over(path, "run", fd, ours)
    os.close(fd)
    return ours, listener.receive("run")


def numbers(start: int) -> torch.Tensor:
    """A tensor that fills a slot."""
    return torch.arange(start, start + SLOT_BYTES // 4, dtype=torch.float32).view(5, 250)


def test_what_one_end_writes_the_other_reads_where_it_lies(
    listener: SlotListener, path: str
) -> None:
    ours, theirs = handed_over(listener, path)
    assert (theirs.slot_bytes, theirs.num_slots) == (SLOT_BYTES, NUM_SLOTS)
    for slot in range(NUM_SLOTS):
        ours.write(slot, slot + 7, numbers(slot))
    views = [theirs.read(TensorMeta("float32", (5, 250), s), s + 7) for s in range(NUM_SLOTS)]
    assert all(torch.equal(view, numbers(slot)) for slot, view in enumerate(views))
    ours.write(1, 9, numbers(100))
    assert torch.equal(views[1], numbers(100))  # a view, not a copy
    assert torch.equal(views[2], numbers(2))  # and the neighbour is left alone


def test_the_other_end_may_answer_in_the_same_slot(listener: SlotListener, path: str) -> None:
    ours, theirs = handed_over(listener, path)
    ours.write(1, 7, numbers(0))
    theirs.write(1, 7, theirs.read(META, 7).t().reshape(5, 250))
    assert torch.equal(ours.read(META, 7), numbers(0).t().reshape(5, 250))


@pytest.mark.parametrize(
    ("meta", "batch_id", "message"),
    [
        (META, 8, "slot 1 is tagged for batch 7, not 8"),
        (TensorMeta("float32", (5, 250), 0), 7, "slot 0 is tagged for batch 0, not 7"),
        (TensorMeta("float32", (5, 250), 3), 7, "5000 bytes in slot 3, but there are 3 slots"),
        (TensorMeta("float32", (5, 251), 1), 7, "5020 bytes in slot 1, but there are 3 slots"),
        (TensorMeta("float32", (5, 0), 1), 7, "0 bytes in slot 1"),
    ],
)
def test_reading_what_is_not_there(
    listener: SlotListener, path: str, meta: TensorMeta, batch_id: int, message: str
) -> None:
    ours, theirs = handed_over(listener, path)
    ours.write(1, 7, numbers(0))
    with pytest.raises(LinkError, match=message):
        theirs.read(meta, batch_id)


def test_handed_memory_cannot_be_cut_short(listener: SlotListener, path: str) -> None:
    """Else reading it would kill the reader."""
    slots, fd = make_slots(SLOT_BYTES, NUM_SLOTS)
    try:
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)
    assert slots.num_slots == NUM_SLOTS


def test_memory_that_is_not_to_be_had_is_an_os_error(listener: SlotListener) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SLOT_BYTES, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            make_slots(SLOT_BYTES, NUM_SLOTS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_more_memory_than_there_is_is_refused_before_it_is_asked_for(
    listener: SlotListener,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SLOT_BYTES, hard))  # in case it is asked for
    try:
        with pytest.raises(OSError, match="bytes are available"):
            make_slots(2**60, NUM_SLOTS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def unsealed() -> int:
    """Memory of the right size that its sender could still cut short."""
    fd = os.memfd_create("test")
    os.ftruncate(fd, 2**20)
    return fd


def short() -> int:
    """Sealed memory that holds less than is claimed."""
    _, fd = make_slots(SLOT_BYTES, 1)
    return fd


def pipe() -> int:
    """No memory at all."""
    read, write = os.pipe()
    os.close(write)
    return read


@pytest.mark.parametrize(
    ("make_fd", "message"),
    [
        (unsealed, "could be cut short under its reader"),
        (short, "smaller than it claims"),
        (pipe, "Invalid argument"),
    ],
)
def test_descriptors_that_are_not_what_they_claim(
    listener: SlotListener, path: str, make_fd: Callable[[], int], message: str
) -> None:
    claimed, own = make_slots(SLOT_BYTES, NUM_SLOTS)
    os.close(own)
    fd = make_fd()
    hand_over(path, "run", fd, claimed)
    os.close(fd)
    with pytest.raises((LinkError, OSError), match=message):
        listener.receive("run")


def test_another_runs_memory_is_not_taken(listener: SlotListener, path: str) -> None:
    slots, fd = make_slots(SLOT_BYTES, NUM_SLOTS)
    hand_over(path, "another run", fd, slots)
    os.close(fd)
    with pytest.raises(LinkError, match="slots of another run or version"):
        listener.receive("run")


GREETING = struct.Struct("<16s16sqq")
MAGIC = b"dni-async slots1"
RUN = b"run".ljust(16, b"\0")


@pytest.mark.parametrize(
    ("greeting", "num_fds", "message"),
    [
        (b"hello", 1, "slots came with 5 bytes and 1 descriptors"),
        (GREETING.pack(MAGIC, RUN, SLOT_BYTES, NUM_SLOTS), 0, "48 bytes and 0 descriptors"),
        (GREETING.pack(b"something else..", RUN, SLOT_BYTES, 1), 1, "another run or version"),
        (GREETING.pack(MAGIC, RUN, 0, NUM_SLOTS), 1, "slots of 0 bytes are out of bounds"),
        (GREETING.pack(MAGIC, RUN, -1, NUM_SLOTS), 1, "are out of bounds"),
        (GREETING.pack(MAGIC, RUN, 2**62, NUM_SLOTS), 1, "are out of bounds"),
        (GREETING.pack(MAGIC, RUN, SLOT_BYTES, 0), 1, "0 slots of 5000 bytes are out of bounds"),
        (GREETING.pack(MAGIC, RUN, SLOT_BYTES, -1), 1, "are out of bounds"),
        (GREETING.pack(MAGIC, RUN, SLOT_BYTES, 2**62), 1, "are out of bounds"),
    ],
)
def test_greetings_that_are_none(
    listener: SlotListener, path: str, greeting: bytes, num_fds: int, message: str
) -> None:
    _, fd = make_slots(SLOT_BYTES, NUM_SLOTS)
    with socket.socket(socket.AF_UNIX) as sender:
        sender.connect(path)
        socket.send_fds(sender, [greeting], [fd] * num_fds)
    os.close(fd)
    with pytest.raises(LinkError, match=message):
        listener.receive("run")


def test_nothing_handed_over_is_an_os_error_soon(listener: SlotListener) -> None:
    with pytest.raises(OSError, match="timed out"):
        listener.receive("run")


def test_nobody_there_is_an_os_error(listener: SlotListener, tmp_path: Path) -> None:
    slots, fd = make_slots(SLOT_BYTES, NUM_SLOTS)
    with pytest.raises(FileNotFoundError):
        hand_over(str(tmp_path / "nobody"), "run", fd, slots)
    os.close(fd)


def test_closing_removes_the_socket(listener: SlotListener, path: str) -> None:
    assert Path(path).exists()
    listener.close()
    assert not Path(path).exists()
    listener.close()  # once more does no harm
