"""Slots in GPU memory on real GPUs: between two processes, of which one is late or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch

from dni_async.transport.link import Link, open_outbox
from dni_async.transport.slots.cuda_runtime import HANDLE_BYTES, loaded_runtime
from dni_async.transport.sockets import Poller, open_sockets
from dni_async.wire.messages import Activation, LinkHello

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SHAPE = (256, 1024)
LATE_CYCLES = 100_000_000  # some 50 ms: who does not wait reads what was there before
PATIENCE_S = 20.0

OTHER_END = """
import os, signal, sys, torch
from dni_async.transport.link import open_inbox
from dni_async.wire.messages import LinkReady, ReturnedGradient
from dni_async.transport.sockets import Poller, open_sockets
address, device, dies_at, late = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
torch.cuda.set_device(device)
torch.cuda.init()
with open_sockets() as sockets:
    inbox = open_inbox(sockets, address, shares_memory=True)
    poller = Poller()
    poller.watch(inbox.channel)
    print("ready", flush=True)
    answered = 0
    while answered < 20:
        received = inbox.receive()
        if received is None:
            poller.wait(10)
            continue
        message, tensors = received
        if not tensors:
            inbox.send(LinkReady("run", 1, 0, inbox.slots_at))
            continue
        torch.cuda._sleep(late)
        gradient = tensors[0].to(device) * 2
        torch.cuda._sleep(late)
        if inbox.takes(message.batch_id, gradient):
            metas, inline = inbox.put(message.batch_id, [gradient])
        else:
            metas, inline = inbox.put(message.batch_id, [gradient.cpu()])
        if answered == dies_at:
            torch.cuda._sleep(20 * late)
            inbox.release(message.batch_id)
            inbox.send(ReturnedGradient("run", message.batch_id, 0, True, metas), inline)
            poller.wait(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
        inbox.release(message.batch_id)
        inbox.send(ReturnedGradient("run", message.batch_id, 0, True, metas), inline)
        answered += 1
    poller.wait(1)
    inbox.finish(10)
"""


@contextmanager
def joined(
    folder: Path, device: str, *, dies_at: int = -1
) -> Iterator[tuple[Link, Poller, subprocess.Popen[bytes]]]:
    """The lower end here, on cuda:0; the upper one in a process of its own, on device."""
    address = f"ipc://{folder}/inbox"
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_END, address, device, str(dies_at), str(LATE_CYCLES)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with ExitStack() as stack:
        stack.callback(process.wait)
        stack.callback(process.kill)
        assert process.stdout is not None
        stack.enter_context(process.stdout)
        process.stdout.readline()
        torch.cuda.set_device(0)
        sockets = stack.enter_context(open_sockets())
        outbox = open_outbox(sockets, address)
        stack.callback(outbox.close)
        outbox.share_memory("run", 2)
        poller = Poller()
        poller.watch(outbox.channel)
        outbox.send(LinkHello("run", 0, 2))
        while outbox.receive() is None:
            assert poller.wait(PATIENCE_S) is not None
            assert process.poll() is None
        yield outbox, poller, process


def send(outbox: Link, batch_id: int, hidden: torch.Tensor) -> bool:
    """Send it up; whether it lies in the GPU's memory."""
    outbox.offer_slots(hidden)
    is_direct = outbox.takes(batch_id, hidden)
    torch.cuda._sleep(LATE_CYCLES)
    metas, inline = outbox.put(batch_id, [hidden if is_direct else hidden.cpu()])
    outbox.send(Activation("run", batch_id, 0, "train", True, metas), inline)
    return is_direct


@pytest.mark.parametrize("other", ["cuda:0", "cuda:1"])
def test_gradients_come_back_through_a_gpu_in_the_slots_they_went_up_in(
    tmp_path: Path, other: str
) -> None:
    """Kernels are late before each write and each read, so an end that does not wait shows."""
    if int(other[-1]) >= torch.cuda.device_count():
        pytest.skip("needs a second CUDA device")
    on_device = 0
    with joined(tmp_path, other) as (outbox, poller, process):
        for batch_id in range(20):
            hidden = torch.randn(SHAPE, device="cuda:0")
            on_device += send(outbox, batch_id, hidden)
            while (received := outbox.receive()) is None:
                assert poller.wait(PATIENCE_S) is not None
                assert process.poll() is None
            _, (gradient,) = received
            torch.testing.assert_close(gradient.to("cuda:0"), hidden * 2)
            outbox.release(batch_id)
        assert outbox.carrier == "GPU memory"
        outbox.finish(10)
        assert process.wait(20) == 0
    assert on_device >= 18  # the first ones go before the slots are mapped


def test_who_waits_for_a_killed_stage_goes_on(tmp_path: Path) -> None:
    """It is killed over kernels that it had queued before its gradient."""
    with joined(tmp_path, "cuda:0", dies_at=5) as (outbox, poller, process):
        for batch_id in range(6):
            hidden = torch.randn(SHAPE, device="cuda:0")
            send(outbox, batch_id, hidden)
            while batch_id < 5 and outbox.receive() is None:
                assert poller.wait(PATIENCE_S) is not None
            if batch_id < 5:
                outbox.release(batch_id)
        assert process.wait(20) == -signal.SIGKILL
        while outbox.receive() is not None:
            pass
    torch.cuda.synchronize()
    assert torch.ones(3, device="cuda:0").sum().item() == 3


def test_a_call_that_cuda_refuses_leaves_no_error_for_the_next_kernel() -> None:
    torch.cuda.init()  # type: ignore[no-untyped-call]
    torch.zeros(1, device="cuda:0")
    with pytest.raises(OSError, match="cudaIpcOpenMemHandle failed with CUDA error"):
        loaded_runtime().open(b"junk".ljust(HANDLE_BYTES, b"\0"))
    assert (torch.ones(4, device="cuda:0") * 2).sum().item() == 8


def test_slots_are_given_back(tmp_path: Path) -> None:
    free = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        with joined(folder, "cuda:0") as (outbox, poller, _):
            hidden = torch.randn(4096, 4096, device="cuda:0")
            outbox.offer_slots(hidden)
            while outbox.carrier != "GPU memory":
                assert poller.wait(PATIENCE_S) is not None
                outbox.receive()
        torch.cuda.empty_cache()
        free.append(torch.cuda.mem_get_info(0)[0])
    assert free[2] > free[0] - 64 * 2**20  # of the 128 MB that two slots take each time
