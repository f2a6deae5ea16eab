"""What was refused: named once, counted, and told in the end. No I/O."""

from __future__ import annotations

from collections import Counter

__all__ = ["MAX_NAMED", "MAX_OF_NO_STAGE", "Refusals"]

MAX_NAMED = 64  # sentences in all
MAX_OF_NO_STAGE = 3  # of them, of members that host none: what these say is no mistake of ours


class Refusals:
    """How many messages were not listened to, by who sent them and by kind.

    Of a worker each kind is named once, for it is a mistake of ours. total: all that were not
    heard, those that were only late among them.
    """

    def __init__(self) -> None:
        self.total = 0
        self._counts: Counter[tuple[int | None, str]] = Counter()
        self._named: Counter[bool] = Counter()  # sentences, by whether a stage was named

    def passed_over(self) -> None:
        """It was late, or says nothing new."""
        self.total += 1

    def refuse(self, stage: int | None, kind: str, why: str) -> str:
        """A sentence for the user; empty where there was one. stage: the sender's, if any."""
        self.total += 1
        self._counts[stage, kind] += 1
        has_stage = stage is not None
        limit = MAX_NAMED - MAX_OF_NO_STAGE if has_stage else MAX_OF_NO_STAGE
        if self._counts[stage, kind] > 1 or self._named[has_stage] >= limit:
            return ""
        self._named[has_stage] += 1
        return f"{_who(stage)}: {kind} was refused: {why}"

    def summary(self) -> str:
        """What came to more than was named; empty where all was."""
        if sum(self._counts.values()) == self._named.total():
            return ""
        senders = {stage for stage, _ in self._counts}
        ordered = sorted(senders, key=lambda stage: -1 if stage is None else stage)
        told = (f"of {_who(stage)} {self._told(stage)}" for stage in ordered)
        return f"refused were {'; '.join(told)}"

    def _told(self, stage: int | None) -> str:
        counts = ((n, kind) for (sender, kind), n in self._counts.items() if sender == stage)
        return ", ".join(f"{n:,} {kind}" for n, kind in sorted(counts, reverse=True))


def _who(stage: int | None) -> str:
    return "members that host no stage" if stage is None else f"stage {stage}"
