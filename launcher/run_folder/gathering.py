"""Which stages have told of their part of which checkpoint, and what follows; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dni_async.wire.messages import Saved

__all__ = ["MAX_OPEN", "AllTold", "Gathering", "GivenUp", "fault_in"]

MAX_OPEN: Final = 64  # checkpoints; stages are a window apart, which holds few


@dataclass(frozen=True, slots=True)
class AllTold:
    """Every stage says that its part is on disk: now it is to be read back. told: by stage."""

    told: tuple[Saved, ...]


@dataclass(frozen=True, slots=True)
class GivenUp:
    """There will be no such checkpoint, for reason."""

    batch_id: int
    reason: str


class Gathering:
    """The checkpoints that some stages have told of, and others not yet."""

    def __init__(self, num_stages: int) -> None:
        self._num_stages = num_stages
        self._told: dict[int, dict[int, Saved]] = {}  # by batch id and stage

    def enter(self, saved: Saved) -> list[AllTold | GivenUp]:
        """What a stage tells of its part, and which checkpoints are decided by that.

        A stage saves one part after another. So what it has passed over when it tells of a later
        one is not going to come.
        """
        missed = [b for b, told in self._told.items() if b < saved.batch_id]
        found: list[AllTold | GivenUp] = [
            self._give_up(batch_id, f"stage {saved.stage} did not tell of its part")
            for batch_id in missed
            if saved.stage not in self._told[batch_id]
        ]
        told = self._told.setdefault(saved.batch_id, {})
        told[saved.stage] = saved
        if len(told) == self._num_stages:
            found.append(self._decide(saved.batch_id))
        if len(self._told) > MAX_OPEN:
            found.append(self._give_up(min(self._told), "too many were begun behind it"))
        return found

    def _decide(self, batch_id: int) -> AllTold | GivenUp:
        told = self._told.pop(batch_id)
        parts = tuple(told[stage] for stage in range(self._num_stages))
        for stage, part in enumerate(parts):
            if part.reason:
                return GivenUp(batch_id, f"stage {stage}: {part.reason}")
            if (part.epoch, part.index) != (parts[0].epoch, parts[0].index):
                return GivenUp(batch_id, f"stage {stage} saved at another place than stage 0")
            if part.first_layer != (parts[stage - 1].end_layer if stage else 0):
                return GivenUp(batch_id, f"stage {stage} saved other layers than come next")
        return AllTold(parts)

    def _give_up(self, batch_id: int, reason: str) -> GivenUp:
        del self._told[batch_id]
        return GivenUp(batch_id, reason)


def fault_in(told: Sequence[Saved], read: Sequence[tuple[int, str] | OSError]) -> str | None:
    """What is wrong with the shards on disk: size and sha256 as they were read back, by stage.

    None where they are what the stages have told.
    """
    for saved, found in zip(told, read, strict=True):
        where = f"the part of stage {saved.stage}"
        if isinstance(found, OSError):
            return f"{where} cannot be read back: {found.strerror or found}"
        size_bytes, sha256 = found
        if size_bytes != saved.size_bytes:
            return f"{where} has {size_bytes} bytes on disk, needs {saved.size_bytes}"
        if sha256 != saved.sha256:
            return f"{where} is not on disk as it was saved: its sha256 differs"
    return None
