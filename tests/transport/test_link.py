"""A link: tensors arrive as they were sent, in frames or in shared memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dni_async import LinkError, WireError
from dni_async.transport.link import Link, open_inbox, open_outbox
from dni_async.transport.slots.ends import UpperSlots
from dni_async.transport.slots.handover import SlotListener
from dni_async.transport.slots.host import can_share_memory, offer_host_slots
from dni_async.transport.slots.interface import SharedSlots
from dni_async.transport.sockets import Poller, Sockets, open_sockets
from dni_async.wire.codec import encode
from dni_async.wire.messages import (
    INLINE,
    PACKED,
    Activation,
    Credit,
    LinkHello,
    LinkReady,
    Marker,
    Message,
    ReturnedGradient,
    SlotsAnswer,
    SlotsOffered,
    TensorMeta,
)
from dni_async.wire.tensors import VIEW_BYTES
from tests.transport.ring import lone_ring

PATIENCE_S = 10.0
Ends = tuple[Link, Link]
sharing = pytest.mark.skipif(not can_share_memory(), reason="needs sealed anonymous files")


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Sockets of one context, closed after the test."""
    with open_sockets(lone_ring()) as opened:
        yield opened


def join(sockets: Sockets, address: str, *, shares_memory: bool) -> Iterator[Ends]:
    """Both ends of one link, lower first, joined."""
    upper = open_inbox(sockets, address, shares_memory=shares_memory)
    lower = open_outbox(sockets, upper.endpoint, upper.key)
    lower.send(LinkHello("run", 0, 2))
    assert receive(upper) == (LinkHello("run", 0, 2), [])
    upper.send(LinkReady("run", 1, 0, upper.slots_at))
    assert receive(lower) == (LinkReady("run", 1, 0, upper.slots_at), [])
    yield lower, upper
    for end in (lower, upper):
        end.close()


@pytest.fixture(params=["ipc", "tcp"])
def link(request: pytest.FixtureRequest, sockets: Sockets, tmp_path: Path) -> Iterator[Ends]:
    """A link that sends tensors in frames."""
    address = f"ipc://{tmp_path}/s" if request.param == "ipc" else "tcp://127.0.0.1:0"
    yield from join(sockets, address, shares_memory=False)


NUM_SLOTS = 2


@pytest.fixture
def shared(sockets: Sockets, tmp_path: Path) -> Iterator[Ends]:
    """A link with NUM_SLOTS slots of the size of large(), mapped at both ends."""
    for lower, upper in join(sockets, f"ipc://{tmp_path}/s", shares_memory=True):
        lower.share_memory("run", NUM_SLOTS)
        send_batch(lower, 0, large(0))  # shows how big slots must be; still in frames
        receive(upper)
        lower.release(0)
        wait_for(lower)
        assert lower.receive() is None  # heard the answer
        yield lower, upper


def wait_for(end: Link) -> None:
    """Until there is something to receive."""
    poller = Poller()
    poller.watch(end.channel)
    poller.wait(PATIENCE_S)


def receive(end: Link) -> tuple[Any, list[torch.Tensor]]:
    """The next message and its tensors, waiting for them."""
    deadline = time.monotonic() + PATIENCE_S
    while (received := end.receive()) is None:  # what is said about slots is heard inside
        assert time.monotonic() < deadline, "nothing came"
        wait_for(end)
    return received


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers, the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def large(seed: int) -> torch.Tensor:
    """An activation that is worth a slot."""
    return random(4, VIEW_BYTES // 4, seed=seed)


def send_batch(end: Link, batch_id: int, *tensors: torch.Tensor) -> Activation:
    """Send tensors up as a worker does."""
    end.offer_slots(tensors[0])
    metas, inline = end.put(batch_id, tensors)
    message = Activation("run", batch_id, 0, "train", False, metas)
    end.send(message, inline)
    return message


def send_gradient(end: Link, batch_id: int, gradient: torch.Tensor) -> ReturnedGradient:
    """Send a gradient down as a worker does."""
    metas, inline = end.put(batch_id, [gradient])
    end.release(batch_id)
    message = ReturnedGradient("run", batch_id, 1, True, metas)
    end.send(message, inline)
    return message


@pytest.mark.parametrize("shape", [(2, 3), (1, 1), (256, 1024), (0, 5), (64, 3, 32, 32)])
def test_activations_arrive_with_their_tensors(link: Ends, shape: Any) -> None:
    lower, upper = link
    hidden, labels = random(*shape), torch.arange(shape[0])
    sent = send_batch(lower, 7, hidden, labels)
    message, tensors = receive(upper)
    assert message == sent
    assert [meta.place for meta in message.tensors] == [-1, -1]
    assert torch.equal(tensors[0], hidden)
    assert torch.equal(tensors[1], labels)
    assert [t.dtype for t in tensors] == [torch.float32, torch.int64]
    assert lower.frame_bytes >= hidden.nbytes + labels.nbytes
    assert upper.received_bytes >= lower.frame_bytes  # and the greeting before it
    assert lower.carrier == upper.carrier == lower.endpoint[:3]


@pytest.mark.parametrize("num_values", [4, VIEW_BYTES])
def test_tensors_from_frames_belong_to_the_receiver(link: Ends, num_values: int) -> None:
    lower, upper = link
    send_batch(lower, 0, torch.zeros(1, num_values))
    _, (received,) = receive(upper)
    received += 1.0
    received.requires_grad_()
    assert received.sum().item() == num_values


def test_gradients_travel_the_other_way(link: Ends) -> None:
    lower, upper = link
    gradient = random(4, 5).to(torch.bfloat16)
    sent = send_gradient(upper, 3, gradient)
    message, (received,) = receive(lower)
    assert message == sent
    assert received.dtype == torch.bfloat16
    assert torch.equal(received, gradient)


def test_messages_of_all_kinds_keep_their_order(link: Ends) -> None:
    lower, upper = link
    sent: list[Message] = []
    for batch_id in range(0, 60, 3):
        sent.append(send_batch(lower, batch_id, torch.ones(1, 2)))
        sent.append(send_batch(lower, batch_id + 1, torch.ones(1, VIEW_BYTES)))
        sent.append(Marker("run", "trained", 1, batch_id))
        lower.send(sent[-1])
    assert [receive(upper)[0] for _ in sent] == sent
    assert upper.receive() is None


def test_zeros_are_omitted_where_that_was_asked_for_and_pays(sockets: Sockets) -> None:
    upper = open_inbox(sockets, "tcp://127.0.0.1:0")
    lower = open_outbox(sockets, upper.endpoint, upper.key, omits_zeros=True)
    torch.manual_seed(0)
    active = torch.randn(64, 128).relu()
    for batch_id, hidden in enumerate((active, torch.randn(64, 128), active[:1], active[:, :3])):
        labels = torch.zeros(len(hidden), dtype=torch.int64)  # ids: zeros are as good as others
        metas, inline = lower.put(batch_id, (hidden, labels))
        assert metas[0].place == (PACKED if batch_id == 0 else INLINE)
        assert metas[1].place == INLINE
        before = lower.frame_bytes
        lower.send(Activation("run", batch_id, 0, "train", False, metas), inline)
        if batch_id == 0:
            assert lower.frame_bytes - before < 0.6 * hidden.nbytes + labels.nbytes
        _, (received, received_labels) = receive(upper)
        assert torch.equal(received, hidden)
        assert torch.equal(received_labels, labels)
    for end in (lower, upper):
        end.close()


def activation_header(*metas: TensorMeta) -> list[Any]:
    """The frames of an activation that says this of its tensors, none with it."""
    return encode(Activation("run", 0, 0, "train", False, metas))


IN_FRAMES = TensorMeta("float32", (2, 2))


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"garbage"],
        [b"\x93\x01\x02\x03", b"", b""],
        activation_header(IN_FRAMES),
        [*activation_header(IN_FRAMES), b"\0" * 15],
    ],
    ids=["empty", "noise", "empty frames", "frame missing", "frame too short"],
)
def test_garbage_is_one_error_and_the_link_goes_on(link: Ends, frames: list[bytes]) -> None:
    lower, upper = link
    lower.channel.send(frames)
    lower.send(Credit("run", (1,)))
    with pytest.raises(WireError):
        receive(upper)
    assert receive(upper) == (Credit("run", (1,)), [])


def test_a_slot_without_shared_memory_is_a_link_error(link: Ends) -> None:
    lower, upper = link
    lower.channel.send(activation_header(TensorMeta("float32", (2, 2), 0)))
    with pytest.raises(LinkError, match="slot 0 was named, but no memory is shared"):
        receive(upper)


def test_an_answer_to_no_offer_is_a_link_error(link: Ends) -> None:
    lower, upper = link
    upper.send(SlotsAnswer("run", True, ""))
    with pytest.raises(LinkError, match="an answer about slots that were not offered"):
        receive(lower)


# --- in shared memory --------------------------------------------------------------------------


@sharing
def test_of_several_tensors_the_largest_that_fits_lies_in_the_slot(shared: Ends) -> None:
    lower, upper = shared
    longer = torch.cat([large(1), large(2)])
    for batch_id, sent in enumerate(
        [[torch.arange(9), large(1)[:3], large(2), torch.ones(())], [large(1), longer]], start=1
    ):
        message = send_batch(lower, batch_id, *sent)
        fit = [tensor.nbytes if tensor.nbytes <= large(0).nbytes else 0 for tensor in sent]
        assert [meta.place >= 0 for meta in message.tensors] == [n == max(fit) for n in fit]
        received, tensors = receive(upper)
        assert received == message
        assert all(map(torch.equal, tensors, sent))


@sharing
def test_a_large_activation_lies_in_a_slot_and_its_gradient_comes_back_there(shared: Ends) -> None:
    lower, upper = shared
    hidden, labels, gradient = large(1), torch.arange(4), large(2)
    sent = send_batch(lower, 5, hidden, labels)
    assert sent.tensors[0].place >= 0
    assert sent.tensors[1].place == -1  # small tensors stay in frames
    message, (received, received_labels) = receive(upper)
    assert message == sent
    assert torch.equal(received, hidden)
    assert torch.equal(received_labels, labels)

    answer = send_gradient(upper, 5, gradient)
    assert answer.tensors[0].place == sent.tensors[0].place
    message, (returned,) = receive(lower)
    assert message == answer
    assert torch.equal(returned, gradient)
    assert lower.shared_bytes == hidden.nbytes
    assert upper.shared_bytes == gradient.nbytes
    assert lower.received_bytes > gradient.nbytes
    assert lower.carrier == upper.carrier == "shared memory"


@sharing
def test_a_batch_keeps_its_slot_until_it_is_released(shared: Ends) -> None:
    lower, upper = shared
    batches = {batch_id: large(batch_id) for batch_id in range(1, NUM_SLOTS + 2)}
    places = [
        send_batch(lower, batch_id, hidden).tensors[0].place for batch_id, hidden in batches.items()
    ]
    assert sorted(places[:NUM_SLOTS]) == list(range(NUM_SLOTS))
    assert places[NUM_SLOTS] == -1  # none is free, so this one goes in frames
    for hidden in batches.values():
        assert torch.equal(receive(upper)[1][0], hidden)
    lower.release(1)
    assert send_batch(lower, 9, large(9)).tensors[0].place == places[0]
    assert torch.equal(receive(upper)[1][0], large(9))


@sharing
def test_many_batches_reuse_the_slots(shared: Ends) -> None:
    lower, upper = shared
    for batch_id in range(1, 20):
        send_batch(lower, batch_id, large(batch_id))
        _, (received,) = receive(upper)
        assert torch.equal(received, large(batch_id))
        upper.release(batch_id)
        upper.send(Credit("run", (batch_id,)))
        assert receive(lower)[0] == Credit("run", (batch_id,))
        lower.release(batch_id)
    assert lower.shared_bytes == 19 * large(0).nbytes


@sharing
def test_two_large_tensors_of_one_batch_both_arrive(shared: Ends) -> None:
    """Labels too are large when a batch has thousands of samples."""
    lower, upper = shared
    hidden, labels = large(1), torch.arange(VIEW_BYTES // 8)
    send_batch(lower, 1, hidden, labels)
    _, tensors = receive(upper)
    assert torch.equal(tensors[0], hidden)
    assert torch.equal(tensors[1], labels)


@sharing
def test_a_tensor_larger_than_a_slot_goes_in_frames(shared: Ends) -> None:
    lower, upper = shared
    hidden = random(5, VIEW_BYTES // 4)
    assert send_batch(lower, 1, hidden).tensors[0].place == -1
    assert torch.equal(receive(upper)[1][0], hidden)


@sharing
@pytest.mark.parametrize(
    ("batch_id", "meta", "message"),
    [
        (7, TensorMeta("float32", (4, VIEW_BYTES // 4), 1), "slot 1 is tagged for batch"),
        (7, TensorMeta("float32", (4,), NUM_SLOTS), f"in slot {NUM_SLOTS}, but there are"),
        (7, TensorMeta("float32", (5, VIEW_BYTES // 4), 0), "slots of 262144 bytes"),
    ],
    ids=["another batch's", "no such slot", "too small"],
)
def test_slots_that_do_not_fit_are_a_link_error(
    shared: Ends, batch_id: int, meta: TensorMeta, message: str
) -> None:
    lower, upper = shared
    lower.send(Activation("run", batch_id, 0, "train", False, (meta,)))
    with pytest.raises(LinkError, match=message):
        receive(upper)


@sharing
def test_an_empty_tensor_in_a_slot_is_a_link_error(shared: Ends) -> None:
    lower, upper = shared
    place = send_batch(lower, 3, large(3)).tensors[0].place
    receive(upper)
    empty = TensorMeta("float32", (0, 5), place)
    lower.send(Activation("run", 3, 0, "train", False, (empty,)))
    with pytest.raises(LinkError, match="batch 3: 0 bytes in slot"):
        receive(upper)


@sharing
def test_a_gradient_in_another_batchs_slot_is_a_link_error(shared: Ends) -> None:
    lower, upper = shared
    first, second = (send_batch(lower, n, large(n)).tensors[0] for n in (1, 2))
    upper.send(ReturnedGradient("run", 1, 0, True, (second,)))
    with pytest.raises(LinkError, match=f"slot {second.place}, which is not batch 1's"):
        receive(lower)
    assert first.place != second.place


@sharing
def test_an_offer_that_is_not_taken_leaves_the_tensors_in_frames(
    sockets: Sockets, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The upper end does not listen for memory: said once, and the run goes on."""
    for lower, upper in join(sockets, f"ipc://{tmp_path}/s", shares_memory=False):
        lower.share_memory("run", NUM_SLOTS)
        for batch_id in range(3):
            assert send_batch(lower, batch_id, large(batch_id)).tensors[0].place == -1
            assert torch.equal(receive(upper)[1][0], large(batch_id))
    assert capfd.readouterr().err.count("memory is not shared over") == 1


@sharing
def test_an_offer_with_nothing_handed_over_is_answered_with_no(
    sockets: Sockets, tmp_path: Path
) -> None:
    listener = SlotListener(f"{tmp_path}/s.slots", timeout_s=0.01)
    upper = Link(sockets.listening(f"ipc://{tmp_path}/s"), UpperSlots(listener))
    lower = open_outbox(sockets, upper.endpoint)
    lower.channel.send(encode(SlotsOffered("run")))
    lower.send(Credit("run", (1,)))
    assert receive(upper) == (Credit("run", (1,)), [])
    with pytest.raises(LinkError, match="not offered"):
        receive(lower)  # the answer
    upper.close()


class LostOffer:
    """Slots that the other end has accepted and this one cannot take up."""

    def __init__(self) -> None:
        self.is_withdrawn = False

    def take_up(self) -> SharedSlots:
        """Fails, as CUDA does."""
        raise OSError("CUDA IPC: invalid resource handle")

    def withdraw(self) -> None:
        """What was made is freed."""
        self.is_withdrawn = True


@sharing
def test_slots_that_cannot_be_taken_up_are_withdrawn_and_tensors_travel_in_frames(
    sockets: Sockets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    made: list[LostOffer] = []

    def offer(path: str, run_id: str, tensor: torch.Tensor, num_slots: int) -> LostOffer:
        offer_host_slots(path, run_id, tensor, num_slots)
        made.append(LostOffer())
        return made[-1]

    monkeypatch.setattr("dni_async.transport.slots.ends.offer_slots", offer)
    for lower, upper in join(sockets, f"ipc://{tmp_path}/s", shares_memory=True):
        lower.share_memory("run", NUM_SLOTS)
        for batch_id in range(3):
            assert send_batch(lower, batch_id, large(batch_id)).tensors[0].place == INLINE
            assert torch.equal(receive(upper)[1][0], large(batch_id))
            if batch_id == 0:
                wait_for(lower)
                assert lower.receive() is None  # heard that the other end has accepted
    assert [each.is_withdrawn for each in made] == [True]  # offered once, and freed
    said = capfd.readouterr().err
    assert said.count("memory is not shared over") == 1
    assert "invalid resource handle" in said


def test_tcp_never_offers_memory(sockets: Sockets, capfd: pytest.CaptureFixture[str]) -> None:
    for lower, upper in join(sockets, "tcp://127.0.0.1:0", shares_memory=True):
        lower.share_memory("run", NUM_SLOTS)
        assert send_batch(lower, 0, large(0)).tensors[0].place == -1
        assert torch.equal(receive(upper)[1][0], large(0))
        assert upper.receive() is None
    assert capfd.readouterr().err == ""  # not even in vain
