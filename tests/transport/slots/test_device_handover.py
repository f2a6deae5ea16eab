"""Slots in GPU memory are tried as they are handed over; where that fails there are frames."""

from __future__ import annotations

import gc
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from dni_async.transport.link import Link
from dni_async.transport.slots import device_handover, ends, handover
from dni_async.transport.slots.device_handover import accept_device_slots, offer_device_slots
from dni_async.transport.slots.gpus import Whereabouts, pid_namespace
from dni_async.transport.slots.greeting import DEVICE_MAGIC, make_greeting
from dni_async.transport.sockets import Sockets, open_sockets
from dni_async.wire.messages import INLINE, Credit
from tests.transport.ring import lone_ring
from tests.transport.slots.stand_in import StandIn, StandInGpus, make_cuda, slow_event
from tests.transport.test_link import join, large, receive, send_batch, send_gradient, wait_for

HERE, ELSEWHERE = "GPU-here", "GPU-elsewhere"


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Sockets of one context, closed after the test."""
    with open_sockets(lone_ring()) as opened:
        yield opened


@contextmanager
def link_over(
    library: StandIn,
    sockets: Sockets,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    sees: tuple[str, ...] = (HERE,),
) -> Iterator[tuple[Link, Link]]:
    """A link between ends on GPUs of the stand-in; sees: the upper end's. One batch has passed."""
    lower_cuda, upper_cuda = make_cuda(library, HERE), make_cuda(library, *sees)
    monkeypatch.setattr(
        ends, "offer_slots", lambda *given: offer_device_slots(*given, cuda=lower_cuda)
    )
    monkeypatch.setattr(
        handover, "accept_device_slots", lambda *given: accept_device_slots(*given, upper_cuda)
    )
    for lower, upper in join(sockets, f"ipc://{folder}/s", shares_memory=True):
        lower.share_memory("run", 2)
        send_batch(lower, 0, large(0))
        receive(upper)
        lower.release(0)
        if lower._slots._offered is not None:  # type: ignore[attr-defined]
            wait_for(lower)
        assert lower.receive() is None  # heard the answer, if there was an offer
        yield lower, upper


def assert_both_ways(lower: Link, upper: Link, batch_id: int) -> int:
    """An activation goes up and its gradient comes down; the place of the activation."""
    sent = send_batch(lower, batch_id, large(batch_id))
    assert torch.equal(receive(upper)[1][0], large(batch_id))
    send_gradient(upper, batch_id, large(batch_id + 50))
    assert torch.equal(receive(lower)[1][0], large(batch_id + 50))
    lower.release(batch_id)
    return sent.tensors[0].place


def test_tensors_travel_in_gpu_memory_once_it_was_tried(
    sockets: Sockets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    library = StandIn()
    with link_over(library, sockets, tmp_path, monkeypatch) as (lower, upper):
        for batch_id in range(1, 8):
            assert assert_both_ways(lower, upper, batch_id) >= 0
        assert lower.carrier == upper.carrier == "GPU memory"
    gc.collect()
    assert not library.mapped
    assert library.last_error == 0
    assert capfd.readouterr().err == ""


def test_what_a_killed_stage_below_never_finished_counts_as_never_sent(
    sockets: Sockets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Its successor is told to begin with that batch; what came behind it would be out of order."""
    library = StandIn()
    with link_over(library, sockets, tmp_path, monkeypatch) as (lower, upper):
        assert_both_ways(lower, upper, 1)
        with slow_event(library, math.inf):
            send_batch(lower, 2, large(2))
        lower.send(Credit("run", (1,)))
        lower._slots.slots._peer.hang_up()  # type: ignore[union-attr]
        library.somebody_was_killed = True
        wait_for(upper)
        assert upper.receive() is None
        assert capfd.readouterr().err.count("batch 2: the other end went before") == 1


MADE_ONCE = ("cudaMalloc", "cudaIpcGetMemHandle", "cudaIpcOpenMemHandle")
MADE_AT_EACH_END = ("cudaEventRecord", "cudaEventQuery")
FOR_EACH_SLOT = ("cudaEventCreateWithFlags", "cudaIpcGetEventHandle", "cudaIpcOpenEventHandle")
FAILURES = [
    *((call, 0) for call in (*MADE_ONCE, *MADE_AT_EACH_END, *FOR_EACH_SLOT)),
    *((call, 1) for call in (*MADE_AT_EACH_END, *FOR_EACH_SLOT)),
    *((call, 2) for call in FOR_EACH_SLOT),  # the other end's first
]


@pytest.mark.parametrize(("fails", "after"), FAILURES, ids=[f"{c}-{n}" for c, n in FAILURES])
def test_whichever_call_fails_the_run_goes_on_in_frames_and_nothing_is_left(
    fails: str,
    after: int,
    sockets: Sockets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """after: so many calls first, so the other end's call fails, or a later slot's."""
    library = StandIn(fails=fails, after=after)
    with link_over(library, sockets, tmp_path, monkeypatch) as (lower, upper):
        for batch_id in range(1, 4):
            assert assert_both_ways(lower, upper, batch_id) == INLINE
        assert lower.carrier == "ipc"
        has_accepted = upper.carrier == "GPU memory"
        said = capfd.readouterr().err
        assert said.count("memory is not shared over") == 1
        assert f"CUDA IPC: {fails} failed with CUDA error 2" in said
    gc.collect()
    assert not library.mapped
    assert bool(library.memory) == has_accepted  # else it goes with the process
    assert library.last_error == 0


@pytest.mark.parametrize(
    ("sees", "reason"),
    [
        ((ELSEWHERE,), f"the stage above does not see GPU {HERE}"),
        ((), "the stage above is not on a GPU"),
        ((ELSEWHERE, HERE), ""),
    ],
    ids=["another GPU", "none", "as its second"],
)
def test_a_gpu_is_known_by_its_uuid(
    sees: tuple[str, ...],
    reason: str,
    sockets: Sockets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    library = StandIn()
    with link_over(library, sockets, tmp_path, monkeypatch, sees=sees) as (lower, upper):
        assert (assert_both_ways(lower, upper, 1) == INLINE) == bool(reason)
        said = capfd.readouterr().err
        assert reason in said
        assert said.count("memory is not shared over") == (1 if reason else 0)
    gc.collect()
    assert not library.mapped
    assert not (reason and library.memory)


def test_memory_that_does_not_hold_what_was_written_is_not_used(
    sockets: Sockets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    library = StandIn()
    monkeypatch.setattr(device_handover, "_write_trial", lambda memory, trial: None)
    with link_over(library, sockets, tmp_path, monkeypatch) as (lower, upper):
        assert assert_both_ways(lower, upper, 1) == INLINE
        assert "what the other end wrote into the shared memory cannot be" in capfd.readouterr().err
    gc.collect()
    assert not library.memory


def test_workers_in_separate_pid_namespaces_share_no_gpu_memory() -> None:
    gpus = StandInGpus(StandIn(), HERE)
    here = pid_namespace()
    told = Whereabouts(HERE, here).packed()
    assert Whereabouts.unpacked(told) == Whereabouts(HERE, here)
    Whereabouts.unpacked(told).found(gpus)
    Whereabouts(HERE, 0).found(gpus)  # unknown
    if here:
        with pytest.raises(OSError, match="in separate PID namespaces"):
            Whereabouts(HERE, here + 1).found(gpus)


def test_no_more_slots_are_offered_than_their_handles_fit_a_socket(tmp_path: Path) -> None:
    library, told = StandIn(), 0
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "slots"))
        listener.listen()
        offer = offer_device_slots(
            str(tmp_path / "slots"), "run", large(0), 4096, cuda=make_cuda(library, HERE)
        )
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            while told < 64 * device_handover.MAX_DEVICE_SLOTS:
                told += len(connection.recv(2**20))
    with pytest.raises(OSError, match=r"CUDA IPC: (the other end hung up|.*reset)"):
        offer.take_up()
    offer.withdraw()
    gc.collect()
    assert library.is_clean


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_process_without_a_gpu_declines() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(make_greeting(DEVICE_MAGIC, "run", 4096, 2))
        with pytest.raises(OSError, match="not on a GPU"):
            accept_device_slots(theirs, 4096, 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_torch_without_cuda_offers_nothing(tmp_path: Path) -> None:
    if torch.version.cuda is None:
        with pytest.raises(OSError, match="CUDA IPC: this torch has no CUDA"):
            offer_device_slots(str(tmp_path / "slots"), "run", large(0), 2)
