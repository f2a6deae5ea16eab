"""What a training forward changes in its modules beside the graph: statistics, counts, schedules.

Found out at the first one. A replay begins from what was there before the forward that it repeats,
and what is there now stays, so that no batch counts twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from dni_async.stage.fingerprint import Print, fingerprint
from dni_async.stage.own_state import REFILLED, attributes_of, marks_of, refill
from dni_async.stage.values import address_of

__all__ = ["State", "Volatile", "undone"]

_KEPT = (bool, int, float, str, type(None), tuple, torch.Tensor, np.ndarray, *REFILLED)
_Place = tuple[dict[str, Any], str]  # of an attribute or a buffer: whose, under which name
State = list[tuple[dict[str, Any], str, Any]]  # of each place, with a copy of what is there


class Volatile:
    """The volatile state of layers."""

    def __init__(self, layers: nn.Module) -> None:
        self._layers = layers
        self._places: list[_Place] | None = None  # until the first training forward

    @contextmanager
    def seen(self) -> Iterator[None]:
        """Around a training forward: the first one shows what forwards change."""
        if self._places is not None:
            yield
            return
        before = marks_of(self._layers) | _marks_of_buffers(self._layers)
        yield
        now = marks_of(self._layers) | _marks_of_buffers(self._layers)
        self._places = list(_places(self._layers, {n for n in now if before.get(n) != now[n]}))

    def state(self) -> State:
        """What it is now; before the first forward all that it may be."""
        places = list(_all_places(self._layers)) if self._places is None else self._places
        return [(where, name, _copy(where[name])) for where, name in places if name in where]

    def addresses(self) -> set[int]:
        """Of the memory of its tensors; before the first forward of all that it may be."""
        places = _all_places(self._layers) if self._places is None else self._places
        values = [where.get(name) for where, name in places]
        found = {address_of(value) for value in values if isinstance(value, torch.Tensor)}
        return {address for address in found if address is not None}

    @contextmanager
    def held(self, state: State) -> Iterator[None]:
        """Around a replay, which begins from state; afterwards all is as it is now."""
        known = {(id(where), name) for where, name in self._places or ()}
        then = [each for each in state if (id(each[0]), each[1]) in known]
        put_back = [_exchange(*each) for each in then if each[1] in each[0]]
        try:
            yield
        finally:
            for act in put_back:
                act()


@contextmanager
@torch.no_grad()
def undone(layers: nn.Module) -> Iterator[None]:
    """What forwards within this do to layers beside parameters is undone, in the same memory."""
    before = [
        (where, name, where[name], _copy(where[name]))
        for where, name in _all_places(layers)
        if name in where
    ]
    yield
    for where, name, value, content in before:
        where[name] = value
        if isinstance(value, torch.Tensor):
            value.detach().copy_(content)
        refill(value, content)


def _places(layers: nn.Module, changed: set[str]) -> Iterator[_Place]:
    """What changed; and what else could change in a module where anything did.

    Kernels write to running statistics unseen, so buffers count together; and what is set anew at
    every forward may by chance be set to what it was at the first.
    """
    modules = {name.rpartition(".")[0] for name in changed}
    for path, module in layers.named_modules():
        if path in modules:
            yield from ((module._buffers, name) for name in module._buffers)
    for name, module, value in attributes_of(layers):
        path, _, attribute = name.rpartition(".")
        if name in changed or (path in modules and isinstance(value, _KEPT)):
            yield vars(module), attribute


def _all_places(layers: nn.Module) -> Iterator[_Place]:
    for module in layers.modules():
        yield from ((module._buffers, name) for name in module._buffers)
    for name, module, _ in attributes_of(layers):
        yield vars(module), name.rpartition(".")[2]


def _copy(value: Any) -> Any:
    """What later changes do not reach; one level deep, for what lies deeper seldom changes."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return value.copy() if isinstance(value, (*REFILLED, np.ndarray)) else value


def _exchange(where: dict[str, Any], name: str, then: Any) -> Callable[[], None]:
    """Have where[name] be then; what puts back what it is.

    A tensor is exchanged, for a graph may hold it; a container is filled with other things, for
    other modules may hold it.
    """
    now, content = where[name], _copy(where[name])
    if not refill(now, then):
        where[name] = _copy(then)

    def put_back() -> None:
        where[name] = now
        refill(now, content)

    return put_back


def _marks_of_buffers(layers: nn.Module) -> dict[str, Print]:
    return {name: fingerprint(buffer) for name, buffer in layers.named_buffers()}
