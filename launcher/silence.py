"""Which workers have said nothing for too long, and what to do about it. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

__all__ = ["LOOK_S", "STACK_S", "Silence", "Step"]

LOOK_S = 1.0  # the most that counts as silence from one look to the next
STACK_S = 1.0  # how long a worker may take to write down where it stands

Step = Literal["ask", "kill"]


class Silence:
    """How long each process has been silent, as seconds in which somebody listened.

    So a launcher that was stopped itself, or a host that was, blames nobody: of the time between
    two looks at most LOOK_S counts.

    after_s: from when on a silent process is taken for stuck; 0: never.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._silent_s: dict[int, float] = {}
        self._asked: set[int] = set()
        self._looked_at: float | None = None

    def hear(self, pid: int) -> None:
        """The process has told of its progress."""
        self._silent_s.pop(pid, None)
        self._asked.discard(pid)

    def look(self, now: float, pids: Iterable[int]) -> list[tuple[int, Step]]:
        """What to do by now about those of pids that are silent, each step once.

        First "ask": have it write down where it stands; if it says nothing for STACK_S more,
        "kill". A process that is seen for the first time begins to be silent now; of those not in
        pids nothing is known any more.
        """
        if not self._after_s:
            return []
        since = 0.0 if self._looked_at is None else min(now - self._looked_at, LOOK_S)
        self._looked_at = now
        known, self._silent_s = self._silent_s, {}
        steps: list[tuple[int, Step]] = []
        for pid in sorted(pids):
            before = known.get(pid)
            silent_s = self._silent_s[pid] = 0.0 if before is None else before + since
            if silent_s >= self._after_s and pid not in self._asked:
                self._asked.add(pid)
                steps.append((pid, "ask"))
            if silent_s >= self._after_s + STACK_S > silent_s - since:
                steps.append((pid, "kill"))
        self._asked &= set(self._silent_s)
        return steps
