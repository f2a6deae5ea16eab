"""What a forward that is looked into must not do, as no recording would have it."""

from __future__ import annotations

import random
from collections.abc import Collection

import numpy as np
from torch import nn

from dni_async.network.split.recording.failures import Unsplittable
from dni_async.stage.fingerprint import Print, fingerprint

__all__ = ["Purity"]

_TORCHS = frozenset(vars(nn.Module()))


class Purity:
    """Watches the modules that are looked into: their attributes, and Python's and numpy's
    generators while no module that is a step runs.
    """

    def __init__(self, module: nn.Module, opened: Collection[str]) -> None:
        self._modules = {path: module.get_submodule(path) for path in opened}
        own = (*module.modules(), *module.parameters(), *module.buffers())
        self._known = frozenset(map(id, own))
        self._before = self._prints()
        self._generators = _generators()
        self._draws = False

    def pause(self) -> None:
        """A step begins, which may do as it likes."""
        self._draws |= _generators() != self._generators

    def go_on(self) -> None:
        """It has ended."""
        self._generators = _generators()

    def check(self) -> None:
        """Raises Unsplittable for what was not pure."""
        self.pause()
        if self._draws:
            raise Unsplittable(
                "a forward that split points lie in draws from Python's or numpy's random numbers; "
                "draw them in a module of its own, or from torch"
            )
        for name, now in self._prints().items():
            if self._before.get(name) != now:
                path, _, attribute = name.rpartition(".")
                kind = type(self._modules[path]).__name__
                raise Unsplittable(
                    f"the forward of {path or kind} changes its attribute {attribute!r}, but split "
                    "points lie in it; keep that in a module of its own, or make it in __init__"
                )

    def _prints(self) -> dict[str, Print]:
        return {
            f"{path}.{name}": fingerprint(value, self._known)
            for path, module in self._modules.items()
            for name, value in vars(module).items()
            if name not in _TORCHS
        }


def _generators() -> tuple[object, ...]:
    state = np.random.get_state(legacy=False)["state"]
    return random.getstate(), state["pos"], state["key"].tobytes()
