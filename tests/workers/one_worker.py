"""One real worker process whose coordinator and one neighbour the test plays by hand."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from dni_async.launcher.places.local import command_for
from dni_async.transport.channels import ControlServer
from dni_async.transport.link import Link
from dni_async.transport.sockets import Poller
from dni_async.wire.messages import Message, Progress
from tests.forked import Forked, fork

__all__ = ["RUN_ID", "OneWorker", "start_worker"]

RUN_ID = "0123456789abcdef"
DEADLINE_S = 30.0
M = TypeVar("M", bound=Message)


@dataclass
class OneWorker:
    """peer: its routing id. link: to the neighbour that the test plays."""

    control: ControlServer
    link: Link
    poller: Poller
    process: Forked
    peer: bytes
    progress: Progress | None = None

    def hear_control(self, kind: type[M]) -> M:
        """The worker's next control message of that kind."""
        found: list[M] = []

        def look() -> bool:
            while (received := self.control.receive()) is not None:
                if isinstance(received[1], Progress):
                    self.progress = received[1]
                if isinstance(received[1], kind):
                    found.append(received[1])
            return bool(found)

        self.wait(look, f"no {kind.__name__}")
        return found[-1]

    def hear_link(self) -> tuple[Message, list[torch.Tensor]]:
        """What the worker sent next over the link."""
        found: list[tuple[Message, list[torch.Tensor]]] = []

        def look() -> bool:
            received = self.link.receive()
            if received is not None:
                found.append(received)
            return bool(found)

        self.wait(look, "nothing came over the link")
        return found[0]

    def settled_updates(self) -> int:
        """The count of updates once the stage has waited through two whole reports."""
        before = -1
        while True:
            now = self.hear_control(Progress).counters.work.updates
            if now == before:
                return now
            before = now

    def wait(self, look: Callable[[], bool], complaint: str) -> None:
        """Poll until look is content, up to the deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while not look():
            assert time.monotonic() < deadline, complaint
            self.poller.wait(0.1)


def start_worker(coordinator: str, stage: int, folder: Path) -> Forked:
    """A worker of that stage, which looks for its coordinator there."""
    arguments = ("--coordinator", coordinator, "--stage", str(stage), "--run-id", RUN_ID)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = command_for("dni_async.workers.__main__", *arguments)
    return fork(command, cwd=folder, environment=environment)
