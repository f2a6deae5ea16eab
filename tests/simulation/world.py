"""The clock of a simulation, what is due when, what has happened, and what must never happen."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any

__all__ = ["Killed", "Process", "Violation", "World"]


class Violation(AssertionError):
    """Something happened that must not. kind: in a few words, the same for the same fault."""

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__(f"{kind}: {text}" if text else kind)
        self.kind = kind


class Killed(BaseException):
    """A process ends on the spot; nothing in it may catch this."""


class World:
    """What all share. draw: decides all that is left to chance; events: a trace, where wanted."""

    def __init__(self, seed: int, *, is_traced: bool = False) -> None:
        self.now = 0.0
        self.draw = random.Random(seed)
        self.random = self.draw.random
        self.events: list[str] | None = [] if is_traced else None
        self.moved_at = 0.0  # when something happened last that brings the run on
        self._due: list[tuple[float, int, Callable[..., None], Any]] = []
        self._count = itertools.count()

    def at(self, when: float, what: Callable[..., None], *given: Any) -> None:
        """Have it happen then."""
        heapq.heappush(self._due, (when, next(self._count), what, given))

    def soon(self, most_s: float, what: Callable[..., None], *given: Any) -> None:
        """Have it happen after a while."""
        self.at(self.now + self.random() * most_s, what, *given)

    def step(self) -> bool:
        """Let the next thing happen; False where there is none."""
        if not self._due:
            return False
        self.now, _, what, given = heapq.heappop(self._due)
        what(*given)
        return True

    def moved(self) -> None:
        """The run has come on."""
        self.moved_at = self.now

    def note(self, who: str, text: object) -> None:
        """Write down what happened, where that is wanted."""
        if self.events is not None:
            self.events.append(f"{self.now:9.4f}  {who:<14} {text}")


class Process:
    """Whatever can be killed. name: for people. ops: how many things it has done so far that
    others see; dies_at: it dies instead of the one with that number. words: how many words of it
    until its death is near; 0: it is not.
    """

    pid = 0

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.is_alive = True
        self.ops = 0
        self.dies_at: int | None = None
        self.words = 0

    def said(self, message: object) -> None:
        """It has said a word."""
        if self.words:
            self.words -= 1
            if not self.words and self.world.random() < 0.5:
                self.dies_at = self.ops + self.world.draw.randint(1, 4)
            elif not self.words:
                self.world.soon(0.01, self.kill)

    def kill(self) -> None:
        """It ends on the spot."""
        raise NotImplementedError

    def op(self) -> None:
        """It is about to do something that others see."""
        self.ops += 1
        if self.dies_at is not None and self.ops >= self.dies_at:
            raise Killed

    def wake(self) -> None:
        """Something has come for it."""
        raise NotImplementedError
