"""Slots in GPU memory between two processes' ends, and what happens where there is no GPU."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dni_async.transport.slots.device import accept_device_slots
from dni_async.transport.slots.greeting import DEVICE_MAGIC, make_greeting

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

OTHER_END = """
import sys, torch
from dni_async.transport.link import open_inbox
from dni_async.wire.messages import LinkReady, ReturnedGradient
from dni_async.transport.sockets import Poller, open_sockets
torch.cuda.init()
with open_sockets() as sockets:
    inbox = open_inbox(sockets, sys.argv[1], shares_memory=True)
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
        gradient = tensors[0].cuda() * 2
        if inbox.takes(message.batch_id, gradient):
            metas, inline = inbox.put(message.batch_id, [gradient])
        else:
            metas, inline = inbox.put(message.batch_id, [gradient.cpu()])
        inbox.release(message.batch_id)
        inbox.send(ReturnedGradient("run", message.batch_id, 0, True, metas), inline)
        answered += 1
    poller.wait(1)
"""


@needs_gpu
def test_gradients_come_back_through_a_gpu_in_the_slots_they_went_up_in(tmp_path: Path) -> None:
    from dni_async.transport.link import open_outbox
    from dni_async.transport.sockets import Poller, open_sockets
    from dni_async.wire.messages import Activation, LinkHello

    address = f"ipc://{tmp_path}/inbox"
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_END, address],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with open_sockets() as sockets:
            outbox = open_outbox(sockets, address)
            outbox.share_memory("run", 2)
            poller = Poller()
            poller.watch(outbox.channel)
            outbox.send(LinkHello("run", 0, 2))
            while outbox.receive() is None:
                poller.wait(10)
                assert process.poll() is None
            on_device = 0
            for batch_id in range(20):
                hidden = torch.randn(256, 256, device="cuda")
                outbox.offer_slots(hidden)
                direct = outbox.takes(batch_id, hidden)
                on_device += direct
                metas, inline = outbox.put(batch_id, [hidden if direct else hidden.cpu()])
                outbox.send(Activation("run", batch_id, 0, "train", True, metas), inline)
                while (received := outbox.receive()) is None:
                    assert poller.wait(10) is not None
                    assert process.poll() is None
                _, (gradient,) = received
                torch.testing.assert_close(gradient.cuda(), hidden * 2)
                outbox.release(batch_id)
            assert on_device >= 18  # the first ones go before the slots are mapped
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_process_without_a_gpu_declines() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(make_greeting(DEVICE_MAGIC, "run", 4096, 2))
        with pytest.raises(OSError, match="not on a GPU"):
            accept_device_slots(theirs, 4096, 2)
