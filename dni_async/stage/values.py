"""What passes from one child of the network to the next: a tensor, or several and how they stand.

A child may give tensors in nested tuples, lists and dicts, or in classes that torch's pytree knows.
Between stages they are a flat tuple, with a text that says how to build again what was given. The
text travels with each activation, so it may change from batch to batch. Classes are found by name,
among those that are there: nothing is imported or unpickled for it.
"""

from __future__ import annotations

import functools
import json
import reprlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.utils import _pytree as pytree

from dni_async.errors import ConfigError

__all__ = [
    "MAX_VALUES",
    "Gradient",
    "Hidden",
    "Structure",
    "Values",
    "address_of",
    "arranged",
    "as_gradient",
    "each",
    "gathered",
    "gradients_of",
    "needing",
    "scaled",
    "structure_of",
    "tensors_of",
]

MAX_VALUES: Final = 31  # two tensors each where they travel as int8, and the targets
_SCALARS = (bool, int, float, str, type(None))
_PLAIN: Final = {"tuple": tuple, "list": list}


@dataclass(frozen=True, slots=True)
class Structure:
    """How values stand in what a child gave.

    form: as JSON has it. A number is a value, 1 if it needs a gradient and 0 if not; all else is
    an array that begins with its kind. needs: the places of values that need a gradient.
    """

    form: Any
    needs: tuple[int, ...]
    num_values: int

    @property
    def untaught(self) -> list[int]:
        """The places of the values that need no gradient."""
        return [place for place in range(self.num_values) if place not in self.needs]

    @property
    def text(self) -> str:
        """What structure_of makes the same of."""
        return json.dumps(self.form, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Values:
    """Several tensors, or one in a container. Those at structure.needs need a gradient."""

    tensors: tuple[torch.Tensor, ...]
    structure: Structure

    def restored(self) -> Any:
        """What the child gave, built anew."""
        return _built(self.structure.form, iter(self.tensors))


Hidden = torch.Tensor | Values  # one tensor, which needs a gradient, is itself
Gradient = torch.Tensor | tuple[torch.Tensor, ...]  # of a tensor; of Values, those that need one


def address_of(tensor: torch.Tensor) -> int | None:
    """Where it lies, whatever part of that it is; None if that is nowhere in particular."""
    return tensor.untyped_storage().data_ptr() or None if tensor.layout == torch.strided else None


def gathered(given: Any, *, unwanted: Sequence[torch.Tensor] = ()) -> Hidden:
    """What a child gave, as values; those that require gradients need one, but for the unwanted.

    Raises ConfigError for what is neither a tensor nor built of tensors and plain values.
    """
    if isinstance(given, torch.Tensor | Values):
        return given
    tensors: list[torch.Tensor] = []
    form = _taken(given, tensors, {id(tensor) for tensor in unwanted})
    if not 0 < len(tensors) <= MAX_VALUES:
        raise ConfigError(
            f"model: a layer gives {len(tensors)} tensors; between stages pass 1 to {MAX_VALUES}"
        )
    return Values(tuple(tensors), _structure(form))


def arranged(tensors: Sequence[torch.Tensor], structure: Structure | None) -> Hidden:
    """Values from their parts; None: the one tensor itself."""
    return tensors[0] if structure is None else Values(tuple(tensors), structure)


def structure_of(text: str) -> Structure | None:
    """What a text says; None if it is empty: one tensor. Raises ValueError for any other text."""
    return _parsed(text) if text else None


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> Structure:
    try:
        found = _structure(json.loads(text))
        blanks = (torch.empty(0) for _ in range(found.num_values))
        _built(found.form, blanks)
    except Exception as error:  # of the many that malformed JSON, or a class's own words, may raise
        raise ValueError(f"no structure of values: {str(error)[:100]}") from error
    if not 0 < found.num_values <= MAX_VALUES:
        raise ValueError(f"a structure of {found.num_values} values, needs 1 to {MAX_VALUES}")
    return found


def tensors_of(hidden: Hidden) -> tuple[torch.Tensor, ...]:
    """All values."""
    return hidden.tensors if isinstance(hidden, Values) else (hidden,)


def needing(hidden: Hidden) -> tuple[torch.Tensor, ...]:
    """The values that need a gradient."""
    if isinstance(hidden, Values):
        return tuple(hidden.tensors[place] for place in hidden.structure.needs)
    return (hidden,)


def each(hidden: Hidden, act: Callable[[torch.Tensor], torch.Tensor]) -> Hidden:
    """act on every value."""
    if isinstance(hidden, Values):
        return Values(tuple(act(tensor) for tensor in hidden.tensors), hidden.structure)
    return act(hidden)


def gradients_of(gradient: Gradient) -> tuple[torch.Tensor, ...]:
    """One for each value that needs a gradient."""
    return gradient if isinstance(gradient, tuple) else (gradient,)


def as_gradient(hidden: Hidden, gradients: Sequence[torch.Tensor]) -> Gradient:
    """The gradients of those values of hidden that need one, as its gradient."""
    return tuple(gradients) if isinstance(hidden, Values) else gradients[0]


def scaled(gradient: Gradient, factor: float) -> Gradient:
    """factor times gradient."""
    if isinstance(gradient, tuple):
        return tuple(of_value * factor for of_value in gradient)
    return gradient * factor


def _structure(form: Any) -> Structure:
    kinds = list(_leaves(form))
    needs = tuple(place for place, kind in enumerate(kinds) if kind)
    return Structure(form, needs, len(kinds))


def _leaves(form: Any) -> Iterator[int]:
    if isinstance(form, int):
        yield form
    elif form[0] != "is":
        for part in form[-1]:
            yield from _leaves(part)


def _taken(given: Any, tensors: list[torch.Tensor], unwanted: set[int]) -> Any:
    """The form of given, whose tensors are put behind the others."""
    if isinstance(given, torch.Tensor):
        tensors.append(given)
        return int(given.requires_grad and id(given) not in unwanted)
    kind = type(given)
    if kind in _SCALARS:
        return ["is", given]

    def parts(values: Any) -> list[Any]:
        return [_taken(value, tensors, unwanted) for value in values]

    if kind in _PLAIN.values():
        return [kind.__name__, parts(given)]
    if kind is dict:
        return ["dict", _plain(list(given)), parts(given.values())]
    if isinstance(given, tuple) and hasattr(kind, "_fields"):
        return ["named", _name_of(kind), parts(given)]
    if kind in pytree.SUPPORTED_NODES:
        children, context = pytree.SUPPORTED_NODES[kind].flatten_fn(given)
        return ["class", _name_of(kind), _plain(context), parts(children)]
    raise _unknown(kind)


def _built(form: Any, tensors: Iterator[torch.Tensor]) -> Any:
    """What has that form, with tensors in it. Raises whatever a form that is none leads to."""
    if form in (0, 1):
        return next(tensors)
    kind, *about, last = form
    if kind == "is" and not about and isinstance(last, _SCALARS):
        return last
    parts = [_built(part, tensors) for part in last]
    if kind == "dict":
        return dict(zip(about[0], parts, strict=True))
    if kind == "named":
        return _class_of(about[0])(*parts)
    if kind == "class":
        return pytree.SUPPORTED_NODES[_class_of(about[0])].unflatten_fn(parts, about[1])
    return _PLAIN[kind](parts)


def _plain(context: Any) -> Any:
    """context, if JSON has the same."""
    try:
        if json.loads(json.dumps(context)) == context:
            return context
    except TypeError:
        pass
    raise ConfigError(
        f"model: a layer gives a container with {reprlib.repr(context)}, which does not travel to "
        "another stage; take a tuple, a list, or a dict with strings for keys"
    )


def _name_of(kind: type) -> str:
    """How the class is found again; a script's own would not be, in another process."""
    name = f"{kind.__module__}:{kind.__qualname__}"
    with suppress(Exception):
        if _class_of(name) is kind and kind.__module__ != "__main__":
            return name
    raise _unknown(kind)


def _class_of(name: str) -> Any:
    """A class that holds values: of a module that is there, a named tuple or known to pytree."""
    module, _, path = name.partition(":")
    found: Any = sys.modules[module]
    for part in path.split("."):
        found = vars(found)[part]  # not getattr, with which some modules import
    is_named = isinstance(found, type) and issubclass(found, tuple) and hasattr(found, "_fields")
    if is_named or (isinstance(found, type) and found in pytree.SUPPORTED_NODES):
        return found
    raise ValueError(f"{name} holds no values")


def _unknown(kind: type) -> ConfigError:
    return ConfigError(
        f"model: a layer gives a {kind.__name__}; between stages pass tensors, or tuples, lists "
        "and dicts of tensors and plain values; or put who takes it into the same stage"
    )
