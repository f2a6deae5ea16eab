"""Split points: that they are there, are reached once, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from dni_async.config.meant import nearest
from dni_async.network.split.recording.failures import Unsplittable
from dni_async.network.split.recording.steps import Recording

__all__ = ["check_points", "in_order"]


def check_points(module: nn.Module, points: Sequence[str]) -> None:
    """Raises Unsplittable if a point names no module, or one twice."""
    paths = [path for path, _ in module.named_modules(remove_duplicate=False) if path]
    for place, point in enumerate(points):
        if point not in paths:
            near = nearest(point, paths, near=0.0)
            remedy = f"the nearest name is {near!r}" if near else "it has no modules"
            raise Unsplittable(f"{point!r} names no module of {type(module).__name__}; {remedy}")
        if point in points[:place]:
            raise Unsplittable(f"{point!r} is named twice")


def in_order(recording: Recording, points: Sequence[str]) -> list[str]:
    """The points as they are reached; without one at the very beginning.

    Raises Unsplittable for one that is not reached, or more than once, or with nothing in between.
    """
    for point in points:
        calls = len(recording.entered.get(point, ()))
        if calls == 0:
            raise Unsplittable(
                f"{point!r} is never called by itself, so nothing begins there; name a module that "
                f"the forward calls{_below(recording, point)}"
            )
        if calls > 1:
            raise Unsplittable(
                f"{point!r} is called {calls} times in one forward, but a part begins once; name "
                "a module before or behind the loop"
            )
    starts = {point: recording.entered[point][0] for point in points}
    ordered = sorted(points, key=starts.__getitem__)
    for one, other in pairwise(ordered):
        if starts[one] == starts[other]:
            raise Unsplittable(f"{one!r} and {other!r} begin at the same place; leave out one")
    begun = _first_work(recording)
    return [point for point in ordered if starts[point] > begun]


def _first_work(recording: Recording) -> int:
    """The first step that does more than to look at shapes."""
    works = (index for index, step in enumerate(recording.steps) if not step.is_fixed)
    return next(works, 0)


def _below(recording: Recording, point: str) -> str:
    inner = next((path for path in recording.entered if path.startswith(f"{point}.")), None)
    return "" if inner is None else f", as {inner!r}"
