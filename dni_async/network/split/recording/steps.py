"""A forward as a list of steps: what was called, with which values, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree

__all__ = ["Held", "Recording", "Ref", "Step", "found_in", "mapped"]


@dataclass(frozen=True, slots=True)
class Ref:
    """A value of the forward, by its number: a tensor, or a number that follows from a shape."""

    number: int


@dataclass(frozen=True, slots=True)
class Held:
    """What a module holds, by its path: a parameter, a buffer or a tensor in an attribute."""

    path: str


@dataclass(frozen=True, slots=True)
class Step:
    """One call. call: a function, or the path of a module that is called.

    args, kwargs: trees in which Ref and Held stand for values. gives: leaf of the result -> number
    of the value. line: where the user's code called. is_fixed: it draws nothing and depends on no
    weights, and on inputs by their shapes alone, so to repeat it elsewhere is the same. autocast:
    whether and to what it casts, where that is not as around the whole forward. uses: paths of what
    a module uses beside what is its own.
    """

    call: Callable[..., Any] | str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    gives: Mapping[int, int]
    line: str
    has_gradient: bool = True
    is_fixed: bool = False
    autocast: tuple[bool, torch.dtype] | None = None
    uses: frozenset[str] = frozenset()


@dataclass(slots=True)
class Recording:
    """A forward. Values 0 .. num_inputs - 1 are its inputs.

    output: the number of the tensor it gives. entered: the step before which each module was
    entered, at each call. shapes: of every value, None where it is a number, which numbers has.
    derived: values that had a gradient when they were made. modes: of each module, whether it was
    training. effort: what it takes, as effort_of has it;
    effort_before: until a module is entered.
    """

    num_inputs: int
    steps: list[Step] = field(default_factory=list)
    output: int = -1
    entered: dict[str, list[int]] = field(default_factory=dict)
    shapes: list[tuple[int, ...] | None] = field(default_factory=list)
    numbers: dict[int, float] = field(default_factory=dict)
    derived: set[int] = field(default_factory=set)
    modes: dict[str, bool] = field(default_factory=dict)
    effort: float = 0.0
    effort_before: dict[str, float] = field(default_factory=dict)


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """tree with each leaf mapped; slices and tuples of any kind are no leaves."""

    def of_leaf(leaf: Any) -> Any:
        if isinstance(leaf, slice):
            return slice(*(mapped(function, each) for each in (leaf.start, leaf.stop, leaf.step)))
        if isinstance(leaf, tuple):  # of a class that the tree does not know: torch.Size
            return tuple(mapped(function, each) for each in leaf)
        return function(leaf)

    return pytree.tree_map(of_leaf, tree)


def found_in(tree: Any) -> tuple[set[int], set[str]]:
    """The numbers of the values in a tree, and the paths of what modules hold."""
    refs: set[int] = set()
    helds: set[str] = set()

    def note(leaf: Any) -> None:
        if isinstance(leaf, Ref):
            refs.add(leaf.number)
        elif isinstance(leaf, Held):
            helds.add(leaf.path)

    mapped(note, tree)
    return refs, helds
