"""How fast the loop takes in what it does not listen to, so that a flood costs it next to nothing.

What is not taken in waits in the connection, which holds little, and then with its sender.
"""

from __future__ import annotations

from typing import Final

from dni_async.decisions.allowance import Allowance

__all__ = ["Pace"]

BURST: Final = 512  # messages that are late, or of a mistake, by all workers at once
PER_S: Final = 50.0  # beyond that, in the long run
A_TURN: Final = 8  # of them, while it is a flood; whoever else has something to say has a turn too
FLOOD_S: Final = 0.02  # the longest turn then, so that a run's own words wait no longer


class Pace:
    """Counts the messages that were not listened to; more than PER_S of them are a flood."""

    def __init__(self) -> None:
        self._allowance = Allowance(BURST, PER_S)
        self._left = float(BURST)
        self._in_turn = 0

    def begin_turn(self, now: float) -> bool:
        """The loop goes round; whether there is a flood, so that words need not wake it."""
        self._left = self._allowance.left(now)
        self._in_turn = 0
        return self._is_flood

    def turn_s(self, usual_s: float) -> float:
        """How long the loop may wait for something to happen."""
        return min(usual_s, FLOOD_S) if self._is_flood else usual_s

    def is_enough(self, num_unheard: int) -> bool:
        """So many more were not listened to; whether the rest is left for the next turn."""
        self._left = self._allowance.spend(min(num_unheard, self._left))
        self._in_turn += num_unheard
        return self._is_flood and self._in_turn >= A_TURN

    @property
    def _is_flood(self) -> bool:
        return self._left < 1.0
