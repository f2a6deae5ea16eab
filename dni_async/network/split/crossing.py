"""What would pass a boundary, at any place between the steps of a forward."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dni_async.network.split.recording.effects import is_random, writes
from dni_async.network.split.recording.steps import Recording, Step, found_in

__all__ = ["crossing", "settled"]


def crossing(recording: Recording, start: int) -> set[int]:
    """The tensors that are made before step start and needed from it on."""
    made = set(range(recording.num_inputs))
    for step in recording.steps[:start]:
        if not step.is_fixed:
            made.update(step.gives.values())
    needed = {recording.output}
    for step in recording.steps[start:]:
        if not step.is_fixed:
            needed |= found_in((step.args, dict(step.kwargs)))[0]
    return (made & needed) - set(recording.numbers)


def settled(recording: Recording, starts: Sequence[int]) -> list[int]:
    """Where parts begin, so that the least passes between them.

    starts: where their first modules are entered. What goes before that, and only rearranges what
    there is (torch.cat, an upsampling), may come with the part.
    """
    lowest, found = 1, []
    for start in starts:
        best, fewest = start, _size(recording, start)
        for place in range(start - 1, lowest - 1, -1):
            if not _may_move(recording.steps[place]):
                break
            size = _size(recording, place)
            if size < fewest:
                best, fewest = place, size
        found.append(best)
        lowest = start + 1
    return found


def _size(recording: Recording, start: int) -> int:
    """Numbers that pass, in all."""
    shapes = (recording.shapes[number] for number in crossing(recording, start))
    return sum(math.prod(shape) for shape in shapes if shape is not None)


def _may_move(step: Step) -> bool:
    """Whether a step is none but a function that draws nothing and writes nowhere."""
    if isinstance(step.call, str) or found_in((step.args, dict(step.kwargs)))[1]:
        return False
    return not (is_random(step.call) or writes(step.call))
