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

from dni_async.network.own_state import attributes_of, marks_of

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
        marks, versions = marks_of(self._layers), _versions(self._layers)
        yield
        self._is_known = True
        changed = [place for place, mark in _versions(self._layers).items() if versions.get(place) != mark]
        self._places = [
            (module._buffers, name) for module, name in changed
        ] + self._attributes(marks, {module for module, _ in changed})

    @contextmanager
    def held(self) -> Iterator[None]:
        """Around a replay, which works on copies; afterwards all is as it was."""
        put_back = [_exchange(where, name) for where, name in self._places if name in where]
        try:
            yield
        finally:
            for act in put_back:
                act()

    def _attributes(self, marks: Any, modules: set[nn.Module]) -> list[_Place]:
        """Those that changed; and what else could change in a module where anything did."""
        kept, now = list(attributes_of(self._layers)), marks_of(self._layers)
        changed = {name for name, _, _ in kept if marks.get(name) != now[name]}
        modules |= {module for name, module, _ in kept if name in changed}
        return [
            (vars(module), name.rpartition(".")[2])
            for name, module, value in kept
            if name in changed or (module in modules and isinstance(value, _SCALARS))
        ]


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


def _versions(layers: nn.Module) -> dict[tuple[nn.Module, str], tuple[int, int]]:
    """Of every buffer which tensor it is, and how often that was written to."""
    return {
        (module, name): (id(buffer), -1 if buffer is None else buffer._version)
        for module in layers.modules()
        for name, buffer in module._buffers.items()
    }
