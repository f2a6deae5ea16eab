"""Which stages have an actor of a cluster, and when they are to get another. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from dni_async.errors import HandshakeError

__all__ = ["MAX_STARTS", "Actors"]

MAX_STARTS = 3  # of a stage's actor, until its worker has said Hello


class Actors:
    """The actors that run workers; each stage has one at most."""

    def __init__(self) -> None:
        self._running: set[int] = set()
        self._starts: dict[int, int] = {}
        self._reasons: dict[int, str] = {}

    def end(self, stage: int, reason: str) -> None:
        """The stage's actor has ended, or is to."""
        self._running.discard(stage)
        self._reasons[stage] = reason

    def seat(self, stage: int) -> None:
        """The stage's worker has said Hello."""
        self._starts.pop(stage, None)

    def due(self, wanted: Iterable[int]) -> list[int]:
        """Those of the wanted stages that are to get an actor now; it counts as running.

        Raises HandshakeError for a stage whose actor ends time and again before its worker joins.
        """
        due = [stage for stage in wanted if stage not in self._running]
        for stage in due:
            count = self._starts[stage] = self._starts.get(stage, 0) + 1
            if count > MAX_STARTS:
                raise HandshakeError(
                    f"stage {stage}: {MAX_STARTS} Ray actors have ended before a worker joined; of "
                    f"the last one: {self._reasons.get(stage, 'nothing is known')}; Ray's logs say "
                    "more"
                )
        self._running.update(due)
        return due
