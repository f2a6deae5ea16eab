"""Numbers that follow from the shapes of tensors, and remember how."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Protocol

from dni_async.network.split.recording.steps import mapped

__all__ = ["Ratio", "Size", "Tape", "has_sizes", "plain", "size_of"]


class Tape(Protocol):
    """Where arithmetic on numbers is noted."""

    def compute(self, function: Callable[..., Any], *operands: Any) -> Any:
        """What function makes of the operands, as a number that remembers it."""
        ...


class Size(int):
    """An int that was computed from shapes. ref: the number of this value on its tape.

    Code of torch and Python takes it for the int that it is; arithmetic gives numbers that
    remember. Where it is only read (a range, a comparison), nothing is remembered; that shows when
    a forward is recorded with other shapes.
    """

    tape: Tape
    ref: int

    @classmethod
    def of(cls, value: float, tape: Tape, ref: int) -> Size | Ratio:
        """The number value, which is ref on tape."""
        made: Any = Size(value) if isinstance(value, int) else Ratio(value)
        made.tape, made.ref = tape, ref
        return made  # type: ignore[no-any-return]

    def __round__(self, *digits: Any) -> Any:
        return self.tape.compute(round, self, *digits)

    def __reduce__(self) -> Any:
        return int, (int(self),)


class Ratio(float):
    """A float that was computed from shapes."""

    tape: Tape
    ref: int

    def __round__(self, *digits: Any) -> Any:
        return self.tape.compute(round, self, *digits)

    def __reduce__(self) -> Any:
        return float, (float(self),)


def size_of(tensor: Any, dim: int) -> int:
    """The size of one dimension."""
    size: int = tensor.shape[dim]
    return size


def plain(value: Any) -> Any:
    """A number as Python has it; anything else as it is."""
    if isinstance(value, Size):
        return int(value)
    return float(value) if isinstance(value, Ratio) else value


def has_sizes(tree: Any) -> bool:
    """Whether any such number is in a tree."""
    found: list[bool] = []
    mapped(lambda leaf: found.append(isinstance(leaf, Size | Ratio)), tree)
    return any(found)


def _binary(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def act(self: Any, other: Any) -> Any:
        if not isinstance(other, int | float):
            return NotImplemented
        return self.tape.compute(function, self, other)

    return act


def _reflected(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def act(self: Any, other: Any) -> Any:
        if not isinstance(other, int | float):
            return NotImplemented
        return self.tape.compute(function, other, self)

    return act


def _unary(function: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda self: self.tape.compute(function, self)


for _name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "pow"):
    for _kind in (Size, Ratio):
        setattr(_kind, f"__{_name}__", _binary(getattr(operator, _name)))
        setattr(_kind, f"__r{_name}__", _reflected(getattr(operator, _name)))
for _kind in (Size, Ratio):
    _kind.__neg__ = _unary(operator.neg)  # type: ignore[method-assign]
    _kind.__abs__ = _unary(abs)  # type: ignore[method-assign]
