"""Lets two processes share memory as the two ends of a link do, in main memory and on each GPU.

Reads its job as JSON from standard input and writes one JSON line to standard output.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Final, NoReturn

import torch

from dni_async.errors import LinkError
from dni_async.system.answers import keep_for_answers
from dni_async.system.machine import die_with_parent
from dni_async.transport.slots.device_handover import offer_device_slots
from dni_async.transport.slots.handover import SlotListener
from dni_async.transport.slots.host import can_share_memory, offer_host_slots
from dni_async.transport.slots.interface import SharedSlots, SlotOffer
from dni_async.wire.messages import TensorMeta

__all__ = ["main"]

META: Final = TensorMeta("float32", (256, 1024), 0)  # a megabyte, in slot 0
BATCH_ID: Final = 7
RUN_ID: Final = "trial"
TIMEOUT_S: Final = 20.0  # CUDA takes its time to come up
BUSY_CYCLES: Final = 200_000_000  # a tenth of a second
OK: Final = b"ok"  # anything else is a reason


def main() -> None:
    """The process: why each could not be shared, empty where it was.

    Of the job, folder: private, for sockets. devices: indices of GPUs.
    """
    job, answer = json.load(sys.stdin), keep_for_answers()
    folder, devices = Path(job["folder"]), job["devices"]
    if not can_share_memory():
        reasons = ["this system has no memfd_create"] * (1 + len(devices))
    else:
        # All are forked before CUDA comes up here: a process forked after that cannot use it.
        others = [_Other(folder / "memory", None)]
        others += [_Other(folder / f"cuda-{index}", index) for index in devices]
        reasons = [other.share() for other in others]
    told = {str(index): reason for index, reason in zip(devices, reasons[1:], strict=True)}
    answer({"memory": reasons[0], "devices": told})
    os._exit(0)  # torch's own threads take their time to end


class _Other:
    """The upper end, a process of its own, as the lower end sees it.

    device: index of a GPU, None for main memory.
    """

    def __init__(self, path: Path, device: int | None) -> None:
        self._path, self._device = str(path), device
        listener = SlotListener(self._path)
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        if os.fork() == 0:
            die_with_parent(parent)
            self._ours.close()
            theirs.settimeout(TIMEOUT_S)
            _be_the_other(listener, theirs, device)
        theirs.close()
        self._ours.settimeout(TIMEOUT_S)

    def share(self) -> str:
        """Write, let the other end read and write, read; why that failed, else empty."""
        try:
            slots = self._hand_over()
            x = torch.arange(META.shape[0] * META.shape[1], dtype=torch.float32).view(META.shape)
            ours = x if self._device is None else x.to(f"cuda:{self._device}")
            _keep_busy(self._device)
            slots.write(0, BATCH_ID, ours)
            self._ours.sendall(OK)
            _hear(self._ours)
            if not torch.equal(slots.read(META, BATCH_ID).cpu(), x + 1):
                raise LinkError("what the other process wrote did not come back")
            self._ours.sendall(OK)
        except TimeoutError:
            return f"the other process did not answer within {TIMEOUT_S:.0f} s"
        except (OSError, LinkError, RuntimeError) as error:
            return _reason(error)
        return ""

    def _hand_over(self) -> SharedSlots:
        offer = self._offer()
        self._ours.sendall(OK)
        _hear(self._ours)
        return offer.take_up()

    def _offer(self) -> SlotOffer:
        """A slot of one megabyte; CUDA takes its time to take it."""
        if self._device is None:
            return offer_host_slots(self._path, RUN_ID, torch.empty(META.shape), 1)
        with torch.cuda.device(self._device):
            like = torch.empty(META.shape, device=f"cuda:{self._device}")
            return offer_device_slots(self._path, RUN_ID, like, 1, TIMEOUT_S)


def _be_the_other(listener: SlotListener, theirs: socket.socket, device: int | None) -> NoReturn:
    """The upper end, from its birth to its end."""
    said = OK
    try:
        if device is not None:
            torch.cuda.set_device(device)
            torch.cuda.init()  # type: ignore[no-untyped-call]
        _hear(theirs)
        slots = listener.receive(RUN_ID)
        theirs.sendall(OK)
        _hear(theirs)
        more = slots.read(META, BATCH_ID) + 1
        _keep_busy(device)
        slots.write(0, BATCH_ID, more)
    except (OSError, LinkError, RuntimeError) as error:
        said = _reason(error).encode()
    try:
        theirs.sendall(said)
        theirs.recv(len(OK))  # until the lower end has read: the memory may end with this process
    finally:
        os._exit(0)


def _keep_busy(device: int | None) -> None:
    """A GPU has something to do first: who reads too early reads what was there before."""
    if device is not None:
        torch.cuda._sleep(BUSY_CYCLES)  # type: ignore[no-untyped-call]


def _hear(channel: socket.socket) -> None:
    """Wait for OK. Raises LinkError with the reason that was said instead."""
    said = channel.recv(4096)
    if said != OK:
        raise LinkError(said.decode(errors="replace") or "the other process ended")


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__
