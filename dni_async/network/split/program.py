"""The steps of one part of a forward, ready to run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from operator import attrgetter
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from dni_async.network.split.recording.steps import Held, Ref, Step, found_in, mapped

__all__ = ["Program", "Values"]

_LEAVES = (Ref, Held, int, float, str, type(None), torch.dtype, torch.device)
Values = torch.Tensor | tuple[torch.Tensor, ...]


class Program:
    """Steps that make values of values. takes, gives: the numbers of those, in order.

    It holds nothing of a module, and never changes: copies of a part share it.
    """

    def __init__(self, takes: Sequence[int], steps: Sequence[Step], gives: Sequence[int]) -> None:
        self.takes, self.steps, self.gives = tuple(takes), tuple(steps), tuple(gives)
        self._done = _last_uses(self.steps, self.gives)

    def __deepcopy__(self, memo: object) -> Program:
        return self

    def run(self, part: nn.Module, values: Values) -> Values:
        """What the steps make of values; part holds the modules and weights that they name."""
        given = values if isinstance(values, tuple) else (values,)
        if len(given) != len(self.takes):
            raise ValueError(f"needs {len(self.takes)} tensors, got {len(given)}")
        found: dict[int, Any] = dict(zip(self.takes, given, strict=True))
        device = given[0].device
        del values, given
        for step, done in zip(self.steps, self._done, strict=True):
            _perform(step, part, found, device)
            for number in done:
                del found[number]
        made = tuple(found[number] for number in self.gives)
        return made[0] if len(made) == 1 else made


def _perform(step: Step, part: nn.Module, found: dict[int, Any], device: torch.device) -> None:
    def value(leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            return found[leaf.number]
        if isinstance(leaf, Held):
            return _at(leaf.path)(part)
        # A device was recorded with that of its samples.
        return device if isinstance(leaf, torch.device) else leaf

    call: Callable[..., Any] = _at(step.call)(part) if isinstance(step.call, str) else step.call
    args = [_each(value, each) for each in step.args]
    kwargs = {name: _each(value, each) for name, each in step.kwargs.items()}
    if step.has_gradient and step.autocast is None:
        result = call(*args, **kwargs)
    else:
        result = _in_context(step, call, args, kwargs)
    if isinstance(result, torch.Tensor):
        for number in step.gives.values():
            found[number] = result
    elif step.gives:
        leaves = pytree.tree_leaves(result)
        for place, number in step.gives.items():
            found[number] = leaves[place]


_at = functools.cache(attrgetter)


def _each(value: Callable[[Any], Any], argument: Any) -> Any:
    """An argument with its values; most are one leaf, which no tree is made of."""
    if isinstance(argument, _LEAVES):
        return value(argument)
    return mapped(value, argument)


def _in_context(step: Step, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    with ExitStack() as held:
        if not step.has_gradient:
            held.enter_context(torch.no_grad())
        if step.autocast is not None:
            enabled, dtype = step.autocast
            tensors = (leaf for leaf in pytree.tree_leaves(args) if isinstance(leaf, torch.Tensor))
            device = next((tensor.device.type for tensor in tensors), "cpu")
            held.enter_context(torch.autocast(device, dtype, enabled=enabled))
        return call(*args, **kwargs)


def _last_uses(steps: Sequence[Step], gives: Sequence[int]) -> list[list[int]]:
    """After each step the values that nobody needs any more."""
    seen, done = set(gives), []
    for step in reversed(steps):
        refs, _ = found_in((step.args, dict(step.kwargs)))
        last = (refs | set(step.gives.values())) - seen
        seen |= last
        done.append(sorted(last))
    return done[::-1]
