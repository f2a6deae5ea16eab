"""Record a forward in both modes and with several shapes, and see that it is always the same."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from dni_async.network.split.recording.effects import name_of
from dni_async.network.split.recording.failures import Unsplittable
from dni_async.network.split.recording.recorder import record
from dni_async.network.split.recording.steps import Recording, Step

__all__ = ["NUM_SAMPLES", "Known", "recorded"]

NUM_SAMPLES = 3
"""How many samples a module is recorded with, at least."""
Inputs = list[torch.Tensor]


@dataclass(frozen=True, slots=True)
class Known:
    """A forward in one mode. sizes: of every value its shape, or the number that it is, with each
    of the inputs that were tried. varied: dimensions of the inputs that may have any size.
    """

    recording: Recording
    sizes: list[tuple[Any, ...]]
    varied: frozenset[int]

    def of_one_length(self) -> Known:
        """The same, as if nothing but the batch size had been varied."""
        return Known(self.recording, [sizes[:2] for sizes in self.sizes], frozenset({0}))


def recorded(
    module: nn.Module,
    inputs: Sequence[torch.Tensor],
    opened: Collection[str],
    call: Callable[..., torch.Tensor],
) -> dict[bool, Known]:
    """By mode (training or not) what module does, with any batch size.

    module: changed by it, so a copy. inputs [B, ...]: of NUM_SAMPLES samples. Other lengths are
    tried as well. Raises Unsplittable.
    """
    found = {}
    for is_training in (True, False):
        module.train(is_training)
        whole = list(inputs)
        first = record(module, whole, opened, call)
        fewer = record(module, [x[:-1] for x in whole], opened, call)
        reason = _difference(first, fewer)
        if reason is not None:
            raise Unsplittable(f"{reason} in batches of 3 and of 2 samples; {_REMEDY}")
        again, varied = [first, fewer], {0}
        for dim, other in _shorter(whole):
            recording = _attempt(module, other, opened, call)
            if recording is not None and _difference(first, recording) is None:
                again.append(recording)
                varied.add(dim)
        sizes = [tuple(_size(each, n) for each in again) for n in range(len(first.shapes))]
        found[is_training] = Known(first, sizes, frozenset(varied))
    return found


_REMEDY = (
    "compute with sizes as x.shape gives them (no len(), range() or int() of one) and with tensors "
    "of torch alone, or put this into a module of its own which no split point lies in"
)


def _shorter(inputs: Inputs) -> Iterator[tuple[int, Inputs]]:
    """The inputs with one dimension shortened, where it has the size that it has in the first."""
    for dim in range(1, inputs[0].ndim):
        size = inputs[0].shape[dim]
        if size < 2:
            continue
        short = size // 2 if size % 2 == 0 and size > 2 else size - 1
        yield (
            dim,
            [
                x.narrow(dim, 0, short) if x.ndim > dim and x.shape[dim] == size else x
                for x in inputs
            ],
        )


def _attempt(module: nn.Module, inputs: Inputs, opened: Collection[str], call: Any) -> Any:
    try:
        return record(module, inputs, opened, call)
    except Exception:  # most modules take one number of features
        return None


def _size(recording: Recording, number: int) -> Any:
    return recording.numbers.get(number, recording.shapes[number])


def _difference(one: Recording, other: Recording) -> str | None:
    """Where two recordings are not the same; None if they are."""
    for mine, theirs in zip(one.steps, other.steps, strict=False):
        if not _is_same(mine, theirs):
            return f"{mine.line} ({_shown(mine)}) does not do the same"
    if len(one.steps) != len(other.steps):
        longer = max((one, other), key=lambda each: len(each.steps))
        return f"{longer.steps[min(len(one.steps), len(other.steps))].line} is not always reached"
    return None if one.output == other.output else "the network gives something else"


def _is_same(one: Step, other: Step) -> bool:
    if one.call != other.call or one.gives != other.gives:
        return False
    mine, spec = pytree.tree_flatten((one.args, dict(one.kwargs)), is_leaf=_is_slice)
    theirs, other_spec = pytree.tree_flatten((other.args, dict(other.kwargs)), is_leaf=_is_slice)
    return spec == other_spec and all(map(_is_same_leaf, mine, theirs))


def _shown(step: Step) -> str:
    return step.call if isinstance(step.call, str) else name_of(step.call)


def _is_slice(value: object) -> bool:
    return isinstance(value, slice)


def _is_same_leaf(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, torch.Tensor) or type(one) is not type(other):
        return False
    if isinstance(one, slice):
        pairs = zip(
            (one.start, one.stop, one.step), (other.start, other.stop, other.step), strict=True
        )
        return all(_is_same_leaf(*pair) for pair in pairs)
    try:
        return bool(one == other)
    except Exception:  # an array's own notion of it
        return False
