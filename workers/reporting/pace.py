"""How long what a worker is at has taken before, so that who hears nothing of it can judge that."""

from __future__ import annotations

import math

from dni_async.decisions.actions import Action, Announce, Finish, Load, Save

__all__ = ["NOTABLE_S", "Pace"]

NOTABLE_S = 0.1  # shorter things are told of with all else, twice a second
FORGETS = 0.9  # of the longest time of a kind, at each time that is shorter

Kind = type[Action] | tuple[type[Action], str]


class Pace:
    """The longest that each kind of action has taken lately.

    told: what the launcher was told last; infinite where it is not known how long it may take: what
    is done for the first time, and what a disk decides. So that is to be told before, and anything
    that has taken much longer than what is done all the time.

    is_known: whether anything is: a compiler may begin anew at any batch.
    """

    def __init__(self, *, is_known: bool = True) -> None:
        self.told = math.inf
        self._is_known = is_known
        self._longest: dict[Kind, float] = {}
        self._since = 0.0

    def foresee(self, action: Action) -> bool:
        """Whether to tell before action that it may take longer than was told."""
        expected = self._longest.get(_kind(action), math.inf)
        if isinstance(action, Save | Finish):
            expected = math.inf
        if expected <= NOTABLE_S or expected <= self.told:
            return False
        self.told = expected
        return True

    def did(self, action: Action, seconds: float) -> None:
        """It took so long."""
        kind = _kind(action)
        longest = self._longest.get(kind)
        if longest is None:
            self._longest[kind] = 0.0  # the first time says nothing of the next
            return
        longest *= FORGETS
        self._longest[kind] = seconds if seconds > longest else longest
        if seconds > self._since:
            self._since = seconds

    def anything(self) -> None:
        """What comes next may take as long as it takes."""
        self.told = math.inf

    def look_back(self) -> None:
        """What was done since the last time is what is done all the time."""
        self.told, self._since = (self._since if self._is_known else math.inf), 0.0


def _kind(action: Action) -> Kind:
    """What takes about as long each time."""
    if isinstance(action, Announce):
        return Announce, action.mark.kind
    if isinstance(action, Load):
        return Load, action.batch.purpose
    return type(action)
