"""What a training forward changes in its modules beside the graph: statistics, counts, schedules.

Found out at the first one. A replay works on copies of it, so that no batch counts twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from dni_async.stage.fingerprint import Print, fingerprint
from dni_async.stage.own_state import attributes_of, marks_of

__all__ = ["Volatile"]

_SCALARS = (bool, int, float, str, type(None))
_Place = tuple[dict[str, Any], str]  # of an attribute or a buffer: whose, under which name


class Volatile:
    """The volatile state of layers."""

    def __init__(self, layers: nn.Module) -> None:
        self._layers = layers
        self._is_known = False
        self._places: list[_Place] = []

    @contextmanager
    def seen(self) -> Iterator[None]:
        """Around a training forward: the first one shows what forwards change."""
        if self._is_known:
            yield
            return
        before = marks_of(self._layers) | _marks_of_buffers(self._layers)
        yield
        self._is_known = True
        now = marks_of(self._layers) | _marks_of_buffers(self._layers)
        self._places = list(_places(self._layers, {n for n in now if before.get(n) != now[n]}))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Around a replay, which works on copies; afterwards all is as it was."""
        put_back = [_exchange(where, name) for where, name in self._places if name in where]
        try:
            yield
        finally:
            for act in put_back:
                act()


def _places(layers: nn.Module, changed: set[str]) -> Iterator[_Place]:
    """What changed; and what else could change in a module where anything did.

    Kernels write to running statistics unseen, so buffers count together.
    """
    modules = {name.rpartition(".")[0] for name in changed}
    for path, module in layers.named_modules():
        if path in modules:
            yield from ((module._buffers, name) for name in module._buffers)
    for name, module, value in attributes_of(layers):
        path, _, attribute = name.rpartition(".")
        if name in changed or (path in modules and isinstance(value, _SCALARS)):
            yield vars(module), attribute


def _exchange(where: dict[str, Any], name: str) -> Callable[[], None]:
    """Put a copy in the place of what where[name] is; what puts that back.

    A tensor is exchanged, for a graph may hold it; a container is emptied and filled again, for
    others may hold it.
    """
    value = where[name]
    if isinstance(value, torch.Tensor):
        where[name] = value.detach().clone()
    refill = _refill(value)

    def put_back() -> None:
        where[name] = value
        refill()

    return put_back


def _refill(value: Any) -> Callable[[], None]:
    """What makes a container hold again what it holds now."""
    if not isinstance(value, dict | list | set | deque):
        return lambda: None
    content = value.copy()

    def refill() -> None:
        value.clear()
        value.extend(content) if isinstance(value, list | deque) else value.update(content)

    return refill


def _marks_of_buffers(layers: nn.Module) -> dict[str, Print]:
    return {name: fingerprint(buffer) for name, buffer in layers.named_buffers()}
