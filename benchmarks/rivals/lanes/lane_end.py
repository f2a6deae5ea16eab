"""The process at one end of a lane: measures what it is told to, one lane at a time.

Started twice, by benchmarks.rivals.lanes.lane_pair. Member 0 is the lower end and holds the clock.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import torch
import zmq

from benchmarks.harness.member import answer
from benchmarks.rivals.lanes.lanes import LinkLower, LinkUpper, Lower, Task, Upper
from benchmarks.rivals.lanes.raw_frames import RawLower, RawUpper, make_socket
from benchmarks.rivals.lanes.unix_socket import UnixLower, UnixUpper
from dni_async.stage.threads import prepare_torch
from dni_async.transport.rings import ring_from
from dni_async.transport.sockets import open_sockets

__all__ = ["main"]

WARM_UP = 3  # windows, before the clock starts


def main(member: int) -> None:
    """Tasks from standard input, measurements to standard output."""
    prepare_torch(1)
    for line in sys.stdin:
        order = json.loads(line)
        if "store" in order:
            from benchmarks.rivals.lanes.gloo import join_group

            join_group(order["store"], member, 2)
            answer({"joined": True})
            continue
        task = Task(**order["task"])
        if member == 1:
            _receive(task, reads=order["reads"])
        elif task.lane == "memcpy":
            answer(_copy(task))
        else:
            answer(_send(task, order["kind"], order["pause_s"]))


def _send(task: Task, kind: str, pause_s: float) -> dict[str, Any]:
    """The lower end: warm up, then measure the messages that are left."""
    tensors = _tensors(task)
    with _lower(task) as lane:
        warm_up = WARM_UP * task.window
        _stream(lane, tensors, range(warm_up), task.window)
        placed = lane.link.shared_bytes if isinstance(lane, LinkLower) else 0
        left = range(warm_up, task.num_messages)
        cpu = time.process_time()
        if kind == "bandwidth":
            began = time.perf_counter()
            _stream(lane, tensors, left, task.window)
            measured: dict[str, Any] = {"seconds": time.perf_counter() - began}
        else:
            measured = {"round_trips": _ping(lane, tensors, left, pause_s)}
        measured["cpu_s"] = (time.process_time() - cpu) / len(left)
        if isinstance(lane, LinkLower):
            measured["shared"] = lane.link.shared_bytes > placed
    return measured


def _stream(lane: Lower, tensors: list[torch.Tensor], batch_ids: range, window: int) -> None:
    """As fast as credits come."""
    in_flight = 0
    for batch_id in batch_ids:
        if in_flight == window:
            lane.credit()
            in_flight -= 1
        lane.send(batch_id, tensors[batch_id % window])
        in_flight += 1
    for _ in range(in_flight):
        lane.credit()


def _ping(
    lane: Lower, tensors: list[torch.Tensor], batch_ids: range, pause_s: float
) -> list[float]:
    """Seconds from each send to its credit, one tensor in flight at a time."""
    seconds = []
    for batch_id in batch_ids:
        if pause_s > 0:
            time.sleep(pause_s)  # both ends have gone to sleep by then
        began = time.perf_counter()
        lane.send(batch_id, tensors[batch_id % len(tensors)])
        lane.credit()
        seconds.append(time.perf_counter() - began)
    return seconds


def _receive(task: Task, *, reads: bool) -> None:
    """The upper end: give every tensor back as soon as it is one."""
    with _upper(task) as lane:
        answer({"address": lane.endpoint, "key": lane.key})
        cpu = 0.0
        for index in range(task.num_messages):
            if index == WARM_UP * task.window:
                cpu = time.process_time()
            batch_id, tensor = lane.receive()
            if tensor.nbytes != task.size_bytes:
                raise ValueError(f"{tensor.nbytes} bytes came, {task.size_bytes} were sent")
            if reads:
                tensor.sum().item()
            del tensor
            lane.give_credit(batch_id)
        cpu = time.process_time() - cpu
        answer({"cpu_s": cpu / (task.num_messages - WARM_UP * task.window)})


def _copy(task: Task) -> dict[str, Any]:
    """What a plain copy in memory takes, between as many tensors as a lane has places."""
    sources = _tensors(task)
    targets = [torch.zeros_like(source) for source in sources]
    seconds = []
    for index in range(task.num_messages):
        began = time.perf_counter()
        targets[index % task.window].copy_(sources[index % task.window])
        seconds.append(time.perf_counter() - began)
    seconds = seconds[WARM_UP * task.window :]
    return {"seconds": sum(seconds), "round_trips": seconds, "cpu_s": sum(seconds) / len(seconds)}


def _tensors(task: Task) -> list[torch.Tensor]:
    return [torch.full((task.size_bytes // 4,), float(index)) for index in range(task.window)]


@contextmanager
def _lower(task: Task) -> Iterator[Lower]:
    if task.lane == "gloo":
        from benchmarks.rivals.lanes.gloo import GlooLower

        yield GlooLower(task)
    elif task.lane == "unix-socket":
        with closing(UnixLower(task)) as unix:
            yield unix
    elif task.lane.startswith("raw"):
        with zmq.Context() as context, closing(RawLower(make_socket(context), task)) as raw:
            yield raw
    else:
        with open_sockets(ring_from(task.ring)) as sockets:
            link = LinkLower(sockets, task, shares_memory=task.lane == "link-slots")
            with closing(link):
                yield link


@contextmanager
def _upper(task: Task) -> Iterator[Upper]:
    if task.lane == "gloo":
        from benchmarks.rivals.lanes.gloo import GlooUpper

        yield GlooUpper(task)
    elif task.lane == "unix-socket":
        with closing(UnixUpper(task)) as unix:
            yield unix
    elif task.lane.startswith("raw"):
        with zmq.Context() as context, closing(RawUpper(make_socket(context), task)) as raw:
            yield raw
    else:
        with open_sockets(ring_from(task.ring)) as sockets:
            link = LinkUpper(sockets, task, shares_memory=task.lane == "link-slots")
            with closing(link):
                yield link
