"""Cut a recorded forward into parts, and find the values that pass between them.

Numbers that follow from shapes, and tensors that follow from such numbers alone (positions, causal
masks), do not pass: a part computes them from the shapes of what it gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from dni_async.network.split.program import Program
from dni_async.network.split.recording.failures import Unsplittable
from dni_async.network.split.recording.sizes import size_of
from dni_async.network.split.recording.steps import Ref, Step, found_in
from dni_async.network.split.recording.variants import Known

__all__ = ["cut"]


def cut(known: Known, starts: Sequence[int]) -> list[Program]:
    """One program for each part; starts: the first step of each but the first, ascending.

    Raises Unsplittable where a number would have to pass that is the size of no tensor.
    """
    bounds = [0, *starts, len(known.recording.steps)]
    programs: list[Program] = []
    wanted: tuple[int, ...] = (known.recording.output,)
    for first, end in reversed(list(pairwise(bounds))):
        programs.append(_Part(known, first, end).program(wanted))
        wanted = programs[-1].takes
    return programs[::-1]


class _Part:
    """The steps [first, end), and what else they need of the steps before."""

    def __init__(self, known: Known, first: int, end: int) -> None:
        self._known = known
        self._first, self._end = first, end
        self._emitted: dict[int, list[Step]] = {}
        self._taken: set[int] = set()
        self._sizes: list[tuple[int, int]] = []  # (step, number) of sizes that are read anew

    def program(self, wanted: Sequence[int]) -> Program:
        """What makes the wanted values, or passes them on."""
        needed = set(wanted)
        recording = self._known.recording
        for index in reversed(range(self._end)):
            step = recording.steps[index]
            hit = needed & set(step.gives.values())
            if index >= self._first:
                if hit or not step.is_fixed:
                    self._emit(index, step, needed)
            elif hit:
                self._fetch(index, step, hit, needed)
        inputs = range(recording.num_inputs)
        takes = list(inputs)
        if self._first > 0:
            self._taken.update(needed.intersection(inputs))
            takes = self._with_sizes()
        steps = [step for index in sorted(self._emitted) for step in self._emitted[index]]
        return Program(takes, steps, wanted)

    def _emit(self, index: int, step: Step, needed: set[int]) -> None:
        self._emitted.setdefault(index, []).append(step)
        needed |= found_in((step.args, dict(step.kwargs)))[0]

    def _fetch(self, index: int, step: Step, hit: set[int], needed: set[int]) -> None:
        """Values that were made below: known, made again, or taken."""
        for number in hit:
            is_number = number in self._known.recording.numbers
            if is_number and len(set(self._known.sizes[number])) == 1:
                self._emit(index, _constant(step, number, self._known.sizes[number][0]), needed)
            elif step.call is size_of or (is_number and not step.is_fixed):
                self._sizes.append((index, number))
            elif not step.is_fixed:
                self._taken.add(number)
            elif index not in self._emitted:
                self._emit(index, step, needed)

    def _with_sizes(self) -> list[int]:
        """All that is taken, when the sizes have been found in it, or what they are read from."""
        for index, number in self._sizes:
            step = self._known.recording.steps[index]
            place = self._place_of(number)
            if place is None:
                if step.call is not size_of:
                    raise Unsplittable(
                        f"{step.line} passes a number on that is the size of no tensor; pass a "
                        "tensor, or leave out the split points behind it"
                    )
                self._taken.add(step.args[0].number)
                place = step.args[0].number, step.args[1]
            args = Ref(place[0]), place[1]
            made = Step(size_of, args, {}, {0: number}, step.line, is_fixed=True)
            self._emitted.setdefault(index, []).append(made)
        return sorted(self._taken, reverse=True)

    def _place_of(self, number: int) -> tuple[int, int] | None:
        """A taken tensor and its dimension that always has this size."""
        known = self._known.sizes[number]
        for tensor in sorted(self._taken, reverse=True):
            for dim, found in enumerate(zip(*self._known.sizes[tensor], strict=False)):
                if found == known:
                    return tensor, dim
        return None


def _constant(step: Step, number: int, value: float) -> Step:
    return Step(_same, (value,), {}, {0: number}, step.line, is_fixed=True)


def _same(value: Any) -> Any:
    return value
