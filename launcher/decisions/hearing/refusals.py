"""What was refused: named once, counted, and told in the end. No I/O."""

from __future__ import annotations

from collections import Counter

__all__ = ["MAX_NAMED", "Refusals"]

MAX_NAMED = 64  # sentences in all


class Refusals:
    """How many messages were not listened to, by who sent them and by kind.

    Of workers each kind is named once, for it is a mistake of ours; of all who host nothing too.
    total: all that were not heard, those that were only late among them.
    """

    def __init__(self) -> None:
        self.total = 0
        self._counts: Counter[tuple[int | None, str]] = Counter()

    def passed_over(self) -> None:
        """It was late, or says nothing new."""
        self.total += 1

    def refuse(self, stage: int | None, kind: str, why: str) -> str:
        """A sentence for the user; empty where it was said before. stage: the sender's, if any."""
        self.total += 1
        key = (stage, kind)
        is_known = key in self._counts
        if not is_known and len(self._counts) >= MAX_NAMED:
            key, is_known = (None, "others"), True
        self._counts[key] += 1
        return "" if is_known else f"{_who(stage)}: {kind} was refused: {why}"

    def summary(self) -> str:
        """What came to more than was named; empty where all was."""
        told = [
            f"{count:,} {kind} of {_who(stage)}"
            for (stage, kind), count in self._counts.most_common()
            if count > 1
        ]
        return f"messages were refused: {', '.join(told)}" if told else ""


def _who(stage: int | None) -> str:
    return "no stage" if stage is None else f"stage {stage}"
