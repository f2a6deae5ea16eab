"""Optimizers of torch.optim, or made like those, in the place of ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import torch

from dni_async.errors import ConfigError
from dni_async.stage.descent.optimizers import Memory
from dni_async.stage.own_state import CannotTravel, decode, encode

__all__ = ["Named", "TorchOptimizers"]

Named = Sequence[tuple[str, torch.Tensor]]
"""Parameters, by the names that the whole network has for them."""
_NOT_KEPT: Final = ("params", "lr", "initial_lr", "param_names")  # of a group: known anyway


class TorchOptimizers:
    """One or several that together update a stage's parameters.

    lr multiplies the rate that each group was made with; 1.0 leaves it as it is. Groups keep their
    numbers, so that what is remembered of them finds its way to another stage. optimizers: made
    over the whole network or more; parameters that are not among named are taken out of them.
    """

    def __init__(self, optimizers: Iterable[torch.optim.Optimizer], named: Named) -> None:
        self.lr = 1.0
        self._parameters = [parameter for _, parameter in named]
        names = {id(parameter): name for name, parameter in named}
        parts = [_Part(place, each, names) for place, each in enumerate(optimizers)]
        self._parts = [part for part in parts if part.optimizer.param_groups]

    def update(self) -> None:
        """One update by each in turn, of what it holds and has a gradient."""
        for part in self._parts:
            part.update(self.lr)
        for parameter in self._parameters:
            parameter.grad = None

    def tensors(self) -> list[dict[str, torch.Tensor]]:
        """Nothing: most of what torch's remember is made at the first update, see memory."""
        return []

    def memory(self) -> Memory:
        """The state of every parameter, and what has changed in groups beside the rate.

        Raises ConfigError for what is neither a tensor nor a plain value.
        """
        memory = Memory()
        for part in self._parts:
            part.add_to(memory)
        return memory

    def remember(self, memory: Memory) -> None:
        """Go on from what memory gave, of these parameters and perhaps others.

        As load_state_dict of each has it: tensors go to the device of their parameter, where that
        is where the optimizer wants them.
        """
        for part in self._parts:
            part.load(memory)


class _Part:
    """An optimizer of the stage, cut down to what it has of named parameters; place: which."""

    def __init__(self, place: int, optimizer: torch.optim.Optimizer, names: dict[int, str]) -> None:
        self._place, self.optimizer = place, optimizer
        kept = []
        self._numbers = []
        for number, group in enumerate(optimizer.param_groups):
            mine = [parameter for parameter in group["params"] if id(parameter) in names]
            for parameter in group["params"]:
                if id(parameter) not in names:
                    optimizer.state.pop(parameter, None)
            if mine:
                kept.append(group)
                self._numbers.append(number)
            _keep(group, mine)
        optimizer.param_groups[:] = kept
        self._names = [names[id(p)] for group in kept for p in group["params"]]
        rates = [group.get("lr") for group in kept]
        self._rates = [None if rate is None else float(rate) for rate in rates]
        self._made = [_options(group) for group in kept]
        self._new = dict.fromkeys(self._held())  # those that have not been updated yet
        self._keeps_gradients = False

    def update(self, factor: float) -> None:
        """One, at so much of the rate that each group was made with.

        One that keeps a gradient itself, where most keep a copy, gets another each time: the
        memory of a gradient may be written again.
        """
        self._set_rate(factor)
        new = [p for p in self._new if p.grad is not None]
        for parameter in self._held() if self._keeps_gradients else new:
            parameter.grad = None if parameter.grad is None else parameter.grad.clone()
        self.optimizer.step()
        for parameter in new:
            del self._new[parameter]
            kept = self.optimizer.state.get(parameter, {}).values()
            self._keeps_gradients |= any(_share(each, parameter.grad) for each in kept)

    def _held(self) -> Iterator[torch.Tensor]:
        for group in self.optimizer.param_groups:
            yield from group["params"]

    def _set_rate(self, factor: float) -> None:
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            if rate is None:
                continue
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    def add_to(self, memory: Memory) -> None:
        """Tell what is remembered of each parameter, and of groups. Raises ConfigError."""
        for index, state in self.optimizer.state_dict()["state"].items():
            if not isinstance(index, int):
                raise ConfigError(
                    f"optimizer: {self._kind} remembers {index!r} beside its parameters, which no "
                    "checkpoint would hold; keep it in a group"
                )
            name = self._names[index]
            told = self._encoded(dict(state), name, memory.tensors)
            memory.parameters.setdefault(name, {})[str(self._place)] = told
        groups = zip(self._numbers, self._made, self.optimizer.param_groups, strict=True)
        for number, made, group in groups:
            new = {k: v for k, v in _options(group).items() if not _is_same(v, made.get(k))}
            if new:
                memory.groups[self._key(number)] = self._encoded(new, f"group {number}", None)

    def load(self, memory: Memory) -> None:
        """Have it go on from what was remembered, by whatever stages."""
        told, place, cpu = self.optimizer.state_dict(), str(self._place), torch.device("cpu")
        told["state"] = {
            index: decode(memory.parameters[name][place], memory.tensors, cpu)
            for index, name in enumerate(self._names)
            if place in memory.parameters.get(name, {})
        }
        for number, group in zip(self._numbers, told["param_groups"], strict=True):
            if self._key(number) in memory.groups:
                group |= decode(memory.groups[self._key(number)], {}, cpu)
        self.optimizer.load_state_dict(told)

    @property
    def _kind(self) -> str:
        return type(self.optimizer).__name__

    def _key(self, number: int) -> str:
        return f"{self._place}.{number}"

    def _encoded(self, value: object, name: str, tensors: dict[str, torch.Tensor] | None) -> object:
        """As JSON and tensors, if those have a place. Raises ConfigError."""
        found: dict[str, torch.Tensor] = {} if tensors is None else tensors
        try:
            told = encode(value, name, found)
            if tensors is None and found:
                raise CannotTravel("tensor")
            return told
        except CannotTravel as error:
            raise ConfigError(
                f"optimizer: {self._kind} remembers a {error} of {name}, which no checkpoint can "
                "hold; keep tensors, numbers, texts, or lists and dicts of these"
            ) from error


def _share(kept: object, gradient: torch.Tensor | None) -> bool:
    """Whether what is kept lies where gradient does."""
    if not isinstance(kept, torch.Tensor) or gradient is None:
        return False
    if torch.strided != kept.layout or torch.strided != gradient.layout:
        return kept is gradient
    return kept.numel() > 0 and kept.data_ptr() == gradient.data_ptr()


def _keep(group: dict[str, Any], parameters: list[torch.Tensor]) -> None:
    """Leave these in a group, and their names."""
    if "param_names" in group:
        chosen = {id(parameter) for parameter in parameters}
        pairs = zip(group["params"], group["param_names"], strict=True)
        group["param_names"] = [name for parameter, name in pairs if id(parameter) in chosen]
    group["params"] = parameters


def _options(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name not in _NOT_KEPT}


def _is_same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return one is other or bool(one == other)
