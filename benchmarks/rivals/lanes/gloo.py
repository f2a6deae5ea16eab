"""torch.distributed's gloo: point-to-point sends and receives over tcp, as pipelines use them."""

from __future__ import annotations

from collections import deque
from datetime import timedelta

import torch
import torch.distributed as dist

from benchmarks.rivals.lanes.lanes import Task

__all__ = ["GlooLower", "GlooUpper", "join_group"]

LOWER, UPPER = 0, 1


def join_group(store: str, rank: int, num_ranks: int, *, timeout_s: float = 120.0) -> None:
    """Become a rank; store is a file that all ranks name and that did not exist before."""
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=num_ranks,
        timeout=timedelta(seconds=timeout_s),
    )


class GlooLower:
    """Sends with isend; the receives for the credits are posted beforehand."""

    def __init__(self, _task: Task) -> None:
        self._in_flight: deque[tuple[dist.Work, dist.Work, torch.Tensor]] = deque()

    def send(self, batch_id: int, tensor: torch.Tensor) -> None:
        """Post the receive of its credit, then send."""
        credit = torch.zeros(1, dtype=torch.int64)
        awaited = dist.irecv(credit, src=UPPER)
        sent = dist.isend(tensor, dst=UPPER)
        assert awaited is not None
        assert sent is not None
        self._in_flight.append((sent, awaited, credit))

    def credit(self) -> int:
        """Of the oldest tensor in flight."""
        sent, awaited, credit = self._in_flight.popleft()
        awaited.wait()
        sent.wait()
        return int(credit.item())

    def close(self) -> None:
        """The group stays for the next measurement."""


class GlooUpper:
    """Keeps a window of receives posted, each with a buffer of its own."""

    endpoint = key = ""

    def __init__(self, task: Task) -> None:
        self._left = task.num_messages
        self._received = 0
        self._posted: deque[tuple[dist.Work, torch.Tensor]] = deque()
        self._shown: dict[int, torch.Tensor] = {}
        for _ in range(task.window):
            self._post(torch.empty(max(1, task.size_bytes // 4)))

    def receive(self) -> tuple[int, torch.Tensor]:
        """The oldest posted receive."""
        work, buffer = self._posted.popleft()
        work.wait()
        batch_id = self._received
        self._received += 1
        self._shown[batch_id] = buffer
        return batch_id, buffer

    def give_credit(self, batch_id: int) -> None:
        """Post a receive into the buffer again, then tell the sender."""
        self._post(self._shown.pop(batch_id))
        dist.send(torch.tensor([batch_id]), dst=LOWER)

    def close(self) -> None:
        """The group stays for the next measurement."""

    def _post(self, buffer: torch.Tensor) -> None:
        if self._left == 0:
            return
        self._left -= 1
        work = dist.irecv(buffer, src=LOWER)
        assert work is not None
        self._posted.append((work, buffer))
