"""Slots in GPU memory, with a stand-in for CUDA: who waits for what, what is given back when."""

from __future__ import annotations

import gc
import math
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest
import torch

from dni_async import LinkError
from dni_async.transport.slots import device as device_module
from dni_async.transport.slots.device import DeviceSlots, await_event, memory_bytes, stride_of
from dni_async.transport.slots.device_handover import (
    MAX_DEVICE_SLOTS,
    accept_device_slots,
    offer_device_slots,
)
from dni_async.transport.slots.greeting import GREETING_BYTES
from dni_async.transport.slots.peer import Peer, PeerGone
from dni_async.wire.messages import TensorMeta
from tests.transport.slots.stand_in import StandIn, make_cuda, slow_event

META = TensorMeta("float32", (4, 100), 0)
NUM_SLOTS = 3
Ends = tuple[DeviceSlots, DeviceSlots]


def numbers(seed: int) -> torch.Tensor:
    """A tensor as META says."""
    return torch.randn(META.shape, generator=torch.Generator().manual_seed(seed))


def hand_over(library: StandIn, folder: Path, num_slots: int = NUM_SLOTS) -> Ends:
    """Both ends, lower first."""
    cuda = make_cuda(library, "GPU-a")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "slots"))
        listener.listen()
        listener.settimeout(10)
        offer = offer_device_slots(str(folder / "slots"), "run", numbers(0), num_slots, cuda=cuda)
        connection, _ = listener.accept()
        connection.settimeout(10)
        told = connection.recv(GREETING_BYTES)
        assert len(told) == GREETING_BYTES
        upper = accept_device_slots(
            connection, numbers(0).nbytes, min(num_slots, MAX_DEVICE_SLOTS), cuda
        )
    return offer.take_up(), upper


@pytest.fixture
def library() -> StandIn:
    """No call of it fails."""
    return StandIn()


@pytest.fixture
def ends(library: StandIn, tmp_path: Path) -> Iterator[Ends]:
    """Both ends in one process; all is given back after the test."""
    lower, upper = hand_over(library, tmp_path)
    library.calls.clear()
    yield lower, upper
    end(lower, upper, library)


def end(lower: DeviceSlots, upper: DeviceSlots, library: StandIn) -> None:
    """As at the end of a run, the upper end first."""
    upper.close()
    lower.finish(10)
    gc.collect()


def test_what_one_end_wrote_the_other_reads_and_answers_in_the_same_slot(ends: Ends) -> None:
    lower, upper = ends
    for slot in range(NUM_SLOTS):
        meta = TensorMeta("float32", META.shape, slot)
        lower.write(slot, 7, numbers(slot))
        assert torch.equal(upper.read(meta, 7), numbers(slot))
        upper.write(slot, 7, numbers(9))
        upper.leave(slot)
        assert torch.equal(lower.read(meta, 7), numbers(9))


@pytest.mark.parametrize("polls", [1, 50])
def test_a_reader_waits_for_the_writers_kernel(ends: Ends, library: StandIn, polls: int) -> None:
    """The kernel writes late, as on a GPU: who reads before its event reads what was there."""
    lower, upper = ends
    for writer, reader in ((lower, upper), (upper, lower)):
        late = writer._slots[0][: 4 * math.prod(META.shape)].view(torch.float32).view(META.shape)
        with slow_event(library, polls, lambda late=late: late.copy_(numbers(5))):
            writer.write(0, 1, torch.zeros(META.shape))
        assert torch.equal(reader.read(META, 1), numbers(5))
        late.zero_()


@pytest.mark.parametrize("polls", [1, 50])
def test_a_writer_waits_until_the_reader_is_done(ends: Ends, library: StandIn, polls: int) -> None:
    """The last kernel that reads the slot runs late: it must not see the next activation."""
    lower, upper = ends
    lower.write(0, 1, numbers(1))
    activation, seen = upper.read(META, 1), []
    with slow_event(library, polls, lambda: seen.append(activation.clone())):
        upper.leave(0)
    lower.write(0, 2, numbers(2))
    assert torch.equal(seen[0], numbers(1))


def test_each_use_of_a_slot_is_recorded_behind_it(ends: Ends, library: StandIn) -> None:
    lower, upper = ends
    lower.write(1, 1, numbers(1))
    upper.leave(1)
    assert [call for call, _ in library.calls] == [
        "cudaEventQuery",
        "cudaEventRecord",
        "cudaEventRecord",
    ]
    (_, theirs), (_, first), (_, second) = library.calls
    assert library.events[theirs] == second  # the lower end asked for the event of the upper one
    assert first != second


def test_a_graph_that_keeps_one_slot_bears_a_write_to_another(ends: Ends) -> None:
    lower, upper = ends
    lower.write(0, 1, numbers(1))
    kept = upper.read(META, 1)
    weight = torch.ones(META.shape, requires_grad=True)
    product = (weight * kept).sum()
    lower.write(1, 2, numbers(2))
    upper.write(2, 3, numbers(3))
    product.backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, numbers(1))


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (TensorMeta("float32", META.shape, NUM_SLOTS), "there are 3 slots"),
        (TensorMeta("float64", META.shape, 0), "3200 bytes in slot 0"),
    ],
    ids=["no such slot", "too small"],
)
def test_slots_that_do_not_fit_are_a_link_error(ends: Ends, meta: TensorMeta, message: str) -> None:
    with pytest.raises(LinkError, match=message):
        ends[1].read(meta, 1)
    assert not ends[0].fits(torch.zeros(401))
    assert ends[0].fits(torch.zeros(400))


def kill(slots: DeviceSlots, library: StandIn) -> None:
    """As the kernel does: the connection closes."""
    library.somebody_was_killed = True
    slots._peer.hang_up()


# --- the other end goes, or is stuck -------------------------------------------------------------


def test_what_a_killed_writer_never_finished_is_no_tensor(ends: Ends, library: StandIn) -> None:
    lower, upper = ends
    with slow_event(library, math.inf):
        lower.write(0, 1, numbers(1))
    kill(lower, library)
    with pytest.raises(PeerGone, match="batch 1: the other end went before"):
        upper.read(META, 1)


def test_what_it_had_finished_is_read(ends: Ends, library: StandIn) -> None:
    lower, upper = ends
    lower.write(0, 1, numbers(1))
    kill(lower, library)
    assert torch.equal(upper.read(META, 1), numbers(1))


def test_a_writer_goes_on_when_its_reader_is_killed(ends: Ends, library: StandIn) -> None:
    lower, upper = ends
    with slow_event(library, math.inf):
        upper.leave(0)
    kill(upper, library)
    lower.write(0, 2, numbers(2))


def test_an_event_of_who_has_gone_may_be_an_error(ends: Ends, library: StandIn) -> None:
    lower, upper = ends
    lower.write(0, 1, numbers(1))
    library.fails = "cudaEventQuery"
    with pytest.raises(OSError, match="cudaEventQuery failed with CUDA error 2"):
        upper.read(META, 1)  # while it is there that is a failure
    kill(lower, library)
    with pytest.raises(PeerGone):
        upper.read(META, 1)
    assert library.last_error == 0


def test_a_stuck_gpu_at_the_other_end_is_an_error(
    library: StandIn, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower, upper = ends
    monkeypatch.setattr(device_module, "PATIENCE_S", 0.01)
    with slow_event(library, math.inf):
        lower.write(0, 1, numbers(1))
    with pytest.raises(OSError, match=r"did not end in 0\.01 s"):
        upper.read(META, 1)
    assert library.last_error == 0
    library.slow.clear()


# --- what is given back --------------------------------------------------------------------------


def test_all_is_given_back_when_an_end_has_been_killed(library: StandIn, tmp_path: Path) -> None:
    """The kernel gives back what the killed one had."""
    lower, upper = hand_over(library, tmp_path)
    of_upper = {*upper._memory.own, *upper._memory.their} if upper._memory else set()
    library.mapped.clear()
    kill(upper, library)
    lower.close()
    gc.collect()
    assert not library.memory
    assert set(library.events) <= of_upper
    assert library.last_error == 0


def test_a_view_that_is_kept_keeps_the_memory(library: StandIn, tmp_path: Path) -> None:
    """A batch in hand outlives the link over which it came."""
    lower, upper = hand_over(library, tmp_path)
    lower.write(0, 1, numbers(1))
    kept = upper.read(META, 1)
    upper.close()
    gc.collect()
    assert library.mapped
    assert torch.equal(kept, numbers(1))
    del kept
    gc.collect()
    assert not library.mapped
    lower.close()
    gc.collect()
    assert not library.memory


def test_memory_that_the_other_end_still_has_mapped_is_left_to_the_process(
    library: StandIn, tmp_path: Path
) -> None:
    lower, upper = hand_over(library, tmp_path)
    lower.close()
    gc.collect()
    assert library.memory
    upper.close()
    gc.collect()
    assert not library.mapped


def test_two_ends_that_finish_wait_for_each_other(library: StandIn, tmp_path: Path) -> None:
    lower, upper = hand_over(library, tmp_path)
    with ExitStack() as stack:
        for slots in (lower, upper):
            thread = Thread(target=slots.finish, args=(10.0,))
            thread.start()
            stack.callback(thread.join)
    gc.collect()
    assert not library.mapped
    assert not library.memory


@pytest.mark.parametrize(
    "fails", ["cudaFree", "cudaIpcCloseMemHandle", "cudaEventDestroy", "cudaStreamSynchronize"]
)
def test_what_cannot_be_given_back_is_no_failure(tmp_path: Path, fails: str) -> None:
    library = StandIn()
    lower, upper = hand_over(library, tmp_path)
    library.fails = fails
    library.somebody_was_killed = True  # the stand-in is strict about an order that this breaks
    upper.close()
    lower.finish(10)
    gc.collect()
    assert library.last_error == 0


def test_slots_have_blocks_of_their_own() -> None:
    assert stride_of(1600) == 2048
    assert memory_bytes(1600, 3) == 2**21
    assert memory_bytes(2**20, 2) == 2**21
    assert memory_bytes(2**20 + 1, 2) == 2**22


def test_waiting_asks_whether_the_other_is_there_before_it_asks_for_the_event() -> None:
    """Else an event that is recorded between the two questions is lost."""
    ours, theirs = socket.socketpair()
    peer, asked = Peer(ours), []

    class Runtime:
        def is_done(self, event: int) -> bool:
            asked.append(event)
            if len(asked) == 1:
                theirs.close()  # it goes after the first answer
            return len(asked) == 2

    assert await_event(Runtime(), 3, peer, 1.0)  # type: ignore[arg-type]
    assert asked == [3, 3]
    peer.hang_up()


def test_a_process_that_is_killed_has_gone() -> None:
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os.read(theirs.fileno(), 1)
        os._exit(0)
    theirs.close()
    peer = Peer(ours)
    assert not peer.has_gone
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert peer.await_end(10)
    peer.hang_up()


def test_who_is_done_says_so_and_is_still_there() -> None:
    ours, theirs = socket.socketpair()
    one, other = Peer(ours), Peer(theirs)
    assert not one.await_done(0)
    other.say_done()
    assert one.await_done(10)
    assert not one.await_end(0)
    assert not other.is_done
    one.hang_up()
    assert other.await_done(10)
    assert other.has_gone
    other.hang_up()
