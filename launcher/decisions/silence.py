"""Which workers have said nothing for too long, and what to do about it. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

__all__ = ["LOOK_S", "STACK_S", "Silence", "Step", "Worker"]

LOOK_S = 1.0  # the most that counts as silence from one look to the next
STACK_S = 1.0  # how long a worker may take to write down where it stands

Step = Literal["ask", "kill"]
Worker = tuple[int, int]  # stage and incarnation


class Silence:
    """How long each worker has been silent, as seconds in which somebody listened.

    So a launcher that was stopped itself, or a host that was, blames nobody: of the time between
    two looks at most LOOK_S counts.

    after_s: from when on a silent worker is taken for stuck; 0: never.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._silent_s: dict[Worker, float] = {}
        self._asked: set[Worker] = set()
        self._looked_at: float | None = None

    def hear(self, worker: Worker) -> None:
        """It has told of its progress."""
        self._silent_s.pop(worker, None)
        self._asked.discard(worker)

    def look(self, now: float, workers: Iterable[Worker]) -> list[tuple[Worker, Step]]:
        """What to do by now about those of workers that are silent, each step once.

        First "ask": have it write down where it stands; if it says nothing for STACK_S more,
        "kill". A worker that is seen for the first time begins to be silent now; of those not among
        workers nothing is known any more.
        """
        if not self._after_s:
            return []
        since = 0.0 if self._looked_at is None else min(now - self._looked_at, LOOK_S)
        self._looked_at = now
        known, self._silent_s = self._silent_s, {}
        steps: list[tuple[Worker, Step]] = []
        for worker in sorted(workers):
            before = known.get(worker)
            silent_s = self._silent_s[worker] = 0.0 if before is None else before + since
            if silent_s >= self._after_s and worker not in self._asked:
                self._asked.add(worker)
                steps.append((worker, "ask"))
            if silent_s >= self._after_s + STACK_S > silent_s - since:
                steps.append((worker, "kill"))
        self._asked &= set(self._silent_s)
        return steps
