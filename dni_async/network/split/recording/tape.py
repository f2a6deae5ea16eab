"""What a forward has done so far: its values by number, and the steps that made them."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from dni_async.network.split.recording.effects import is_random, writes
from dni_async.network.split.recording.effort import effort_of
from dni_async.network.split.recording.failures import Unsplittable, user_line
from dni_async.network.split.recording.sizes import Ratio, Size, plain, size_of
from dni_async.network.split.recording.steps import Held, Recording, Ref, Step, found_in, mapped

__all__ = ["Tape"]

_CONSTANT = (
    int, float, complex, str, bytes, type(None), type(...), enum.Enum,
    np.generic, torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Generator,
)  # fmt: skip
_UNSEEN = (
    "no function of torch has made that can be seen (a torch.autograd.Function, reentrant "
    "checkpointing); put what makes it into a module of its own which no split point lies in"
)


class Tape:
    """Steps in the order of the forward. Every tensor is kept, so that no id comes twice."""

    def __init__(self, module: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
        self._recording = Recording(num_inputs=len(inputs))
        self._recording.modes = {name: part.training for name, part in module.named_modules()}
        self._numbers: dict[int, int] = {}  # by the id of a tensor
        self._kept: list[tuple[torch.Tensor, int]] = []
        self._loose: set[int] = set()  # values that depend on more than shapes
        self._names = _names_in(module)
        self._held = {key: names[0] for key, names in self._names.items()}
        self._autocast = _autocast()
        self._loose.update(self._bind(tensor) for tensor in inputs)

    def enter(self, path: str) -> None:
        """A module is about to run."""
        self._recording.entered.setdefault(path, []).append(len(self._recording.steps))
        self._recording.effort_before.setdefault(path, self._recording.effort)

    def weigh(self, function: Callable[..., Any], given: Any, result: Any) -> None:
        """A function of torch has been called, perhaps with weights."""
        leaves = pytree.tree_leaves(given)
        weights = [leaf for leaf in leaves if id(leaf) in self._names]
        if weights:
            self._recording.effort += effort_of(function, weights, result)

    def note(
        self,
        call: Callable[..., Any] | str,
        args: Any,
        kwargs: Any,
        result: Any,
        *,
        uses: Collection[str] = (),
    ) -> Any:
        """A call has given result; what to give the user in its place."""
        given = mapped(self._stand_in, args), mapped(self._stand_in, kwargs)
        refs, helds = found_in(given)
        is_module = isinstance(call, str)
        has_written = not isinstance(call, str) and writes(call)
        is_fixed = not (is_module or has_written or helds or refs & self._loose)
        is_fixed = is_fixed and not is_random(call)  # type: ignore[arg-type]
        leaves, spec = pytree.tree_flatten(result)
        gives: dict[int, int] = {}
        for place, leaf in enumerate(leaves):
            if isinstance(leaf, torch.Tensor):
                gives[place] = self._bind(leaf)
            elif is_module and type(leaf) in (int, float):
                leaves[place] = self._number(leaf)
                gives[place] = leaves[place].ref
        if not is_fixed:
            self._loose.update(gives.values())
        if has_written:
            self._loosen(args)
        self._add(call, given, gives, is_fixed=is_fixed, uses=frozenset(uses))
        has_numbers = any(isinstance(leaf, Size | Ratio) for leaf in leaves)
        return pytree.tree_unflatten(leaves, spec) if has_numbers else result

    def shape(self, tensor: torch.Tensor, sizes: torch.Size) -> torch.Size:
        """The sizes of a tensor, as numbers that remember it."""
        if id(tensor) not in self._numbers:
            return sizes
        return torch.Size([self.compute(size_of, tensor, dim) for dim in range(len(sizes))])

    def sizes(self, args: Any, kwargs: Any, result: Any) -> Any:
        """What size() or numel() has given, as numbers that remember the tensor."""
        tensor = args[0]
        if id(tensor) not in self._numbers:
            return result
        if isinstance(result, torch.Size):
            return self.shape(tensor, result)
        dims = [*args[1:], *kwargs.values()]
        if dims:
            return self.compute(size_of, tensor, dims[0])
        product: Any = 1
        for size in self.shape(tensor, tensor.shape):
            product = product * size
        return product

    def compute(self, function: Callable[..., Any], *operands: Any) -> Any:
        """What function makes of the operands, as a number that remembers it."""
        result = function(*(plain(each) for each in operands))
        if type(result) not in (int, float):
            return result
        made = self._number(result)
        given: tuple[Any, dict[str, Any]] = (mapped(self._stand_in, operands), {})
        self._add(function, given, {0: made.ref}, is_fixed=True)
        return made

    def is_loose(self, args: Any) -> bool:
        """Whether any value in args depends on more than shapes, or is a weight."""
        refs, helds = found_in(mapped(self._stand_in, args))
        return bool(helds or refs & self._loose)

    def strangers_in(self, args: Any, path: str) -> set[str]:
        """The paths of the parameters and buffers in args that the module at path has not."""
        names = (self._names[id(leaf)] for leaf in args if id(leaf) in self._names)
        return {known[0] for known in names if not any(n.startswith(f"{path}.") for n in known)}

    def finished(self, output: torch.Tensor) -> Recording:
        """All that was recorded. Raises Unsplittable if output is none of its values."""
        known = self._stand_in(output)
        if not isinstance(known, Ref):
            raise Unsplittable(f"the forward gives a tensor that {_UNSEEN}")
        self._recording.output = known.number
        return self._recording

    def _add(
        self,
        call: Any,
        given: Any,
        gives: dict[int, int],
        *,
        is_fixed: bool,
        uses: Any = frozenset(),
    ) -> None:
        autocast = _autocast()
        self._recording.steps.append(
            Step(
                call,
                given[0],
                given[1],
                gives,
                user_line(),
                has_gradient=torch.is_grad_enabled(),
                is_fixed=is_fixed,
                autocast=None if autocast == self._autocast else autocast,
                uses=uses,
            )
        )

    def _bind(self, tensor: torch.Tensor) -> int:
        number = len(self._recording.shapes)
        self._recording.shapes.append(tuple(tensor.shape))
        self._numbers[id(tensor)] = number
        if tensor.grad_fn is not None:
            self._recording.derived.add(number)
        self._kept.append((tensor, number))
        return number

    def _number(self, value: float) -> Any:
        number = len(self._recording.shapes)
        self._recording.shapes.append(None)
        self._recording.numbers[number] = value
        return Size.of(value, self, number)

    def _stand_in(self, leaf: Any) -> Any:
        """Ref or Held for what is known; anything else stands for itself."""
        if isinstance(leaf, Size | Ratio):
            return Ref(leaf.ref)
        if not isinstance(leaf, torch.Tensor):
            return self._constant(leaf)
        if id(leaf) in self._held:
            return Held(self._held[id(leaf)])
        number = self._numbers.get(id(leaf))
        if leaf.grad_fn is not None and number not in self._recording.derived:
            raise Unsplittable(f"{user_line()} uses a tensor that {_UNSEEN}")
        return leaf if number is None else Ref(number)

    def _constant(self, leaf: Any) -> Any:
        """What stands for itself, and cannot be changed by who gets it."""
        if isinstance(leaf, _CONSTANT) or callable(leaf):
            return leaf
        raise Unsplittable(
            f"{user_line()} passes a {type(leaf).__name__} from module to module; what passes must "
            "be tensors and plain values, or stay within a module which no split point lies in"
        )

    def _loosen(self, args: Any) -> None:
        """What was written to, and all that shares its memory, cannot be made again elsewhere."""
        written = {_memory(leaf) for leaf in pytree.tree_leaves(args) if _is_tensor(leaf)}
        self._loose.update(number for tensor, number in self._kept if _memory(tensor) in written)


def _names_in(module: nn.Module) -> dict[int, list[str]]:
    """Parameters, buffers and tensors in attributes, by id: all their paths."""
    found: dict[int, list[str]] = {}
    for path, each in module.named_modules():
        for name, value in [*vars(each).items(), *each._buffers.items(), *each._parameters.items()]:
            if isinstance(value, torch.Tensor):
                found.setdefault(id(value), []).append(f"{path}.{name}" if path else name)
    return found


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided else id(tensor)


def _autocast() -> tuple[bool, torch.dtype]:
    return torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
