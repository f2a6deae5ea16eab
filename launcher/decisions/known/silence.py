"""Which workers have said nothing for too long, and what to do about it. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

__all__ = ["LEAST_S", "LOOK_S", "STACK_S", "TCP_LEAST_S", "TIMES", "Silence", "Step", "Worker"]

LOOK_S = 1.0  # the most that counts as silence from one look to the next
STACK_S = 1.0  # how long a worker may take to write down where it stands
LEAST_S = 10.0  # of silence, before anybody is taken for stuck who may be so for longer
TCP_LEAST_S = 30.0  # over tcp, where what was cut off is sent again after up to twice the cut
TIMES = 100  # as long as what it is at has taken before, nobody is stuck for so many times that

Step = Literal["ask", "kill"]
Worker = tuple[int, int]  # stage and incarnation


class Silence:
    """How long each worker has been silent, as seconds in which somebody listened.

    So a launcher that was stopped itself, or a host that was, blames nobody: of the time between
    two looks at most LOOK_S counts.

    most_s: from when on a silent worker is taken for stuck whatever it is at; 0: never. least_s:
    before that nobody is who has said how long it may take; more where networks may be silent.
    """

    def __init__(self, most_s: float, least_s: float = LEAST_S) -> None:
        self._most_s = most_s
        self._least_s = least_s
        self._after_s: dict[Worker, float] = {}  # of those who have said how long it may take
        self._silent_s: dict[Worker, float] = {}
        self._asked: set[Worker] = set()
        self._looked_at: float | None = None

    def hear(self, worker: Worker, longest_s: float = -1.0) -> None:
        """It has told of its progress, and how long what it is at has taken before, if it can."""
        self._silent_s.pop(worker, None)
        self._asked.discard(worker)
        after_s = max(self._least_s, TIMES * longest_s) if longest_s >= 0 else self._most_s
        self._after_s[worker] = min(after_s, self._most_s)

    def after_s(self, worker: Worker) -> float:
        """From when on it is taken for stuck, by what it has said last."""
        return self._after_s.get(worker, self._most_s)

    def look(self, now: float, workers: Iterable[Worker]) -> list[tuple[Worker, Step]]:
        """What to do by now about those of workers that are silent, each step once.

        First "ask": have it write down where it stands; if it says nothing for STACK_S more,
        "kill". A worker that is seen for the first time begins to be silent now; of those not among
        workers nothing is known any more.
        """
        if not self._most_s:
            return []
        since = 0.0 if self._looked_at is None else min(now - self._looked_at, LOOK_S)
        self._looked_at = now
        known, self._silent_s = self._silent_s, {}
        steps: list[tuple[Worker, Step]] = []
        for worker in sorted(workers):
            before, after_s = known.get(worker), self.after_s(worker)
            silent_s = self._silent_s[worker] = 0.0 if before is None else before + since
            if silent_s >= after_s and worker not in self._asked:
                self._asked.add(worker)
                steps.append((worker, "ask"))
            if silent_s >= after_s + STACK_S > silent_s - since:
                steps.append((worker, "kill"))
        self._asked &= set(self._silent_s)
        self._after_s = {each: s for each, s in self._after_s.items() if each in self._silent_s}
        return steps
