"""Random numbers of a layer that depend on the run's seed, the layer and the batch alone.

So dropout has the same mask whatever the stages, in the baseline too, and when a batch is replayed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from dni_async.seeding import draw_seed

__all__ = ["Draws"]

_TRIED = 4  # times per layer, after which a slow generator that nobody drew from is left alone


class Draws:
    """Sets the generators before each layer of a training batch.

    starts: the index of the first child of each layer; the first of them is the network's layer
    first_layer. Python's and numpy's generators, slow to set, only where the layers draw from them.
    """

    def __init__(self, seed: int, first_layer: int, starts: Sequence[int]) -> None:
        self._seed = seed
        self._layers = {start: first_layer + place for place, start in enumerate(starts)}
        tries = _TRIED * len(starts)
        self._slow = (
            _SlowGenerator(random.seed, random.getstate, tries),
            _SlowGenerator(_seed_numpy, _state_of_numpy, tries),
        )

    def begin(self, child: int, batch_id: int, device: torch.device) -> None:
        """Child is about to run batch_id in training mode."""
        layer = self._layers.get(child)
        if layer is None:
            return
        seed = draw_seed(self._seed, layer, batch_id)
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.default_generators[device.index or 0].manual_seed(seed)
        for generator in self._slow:
            generator.begin(seed)

    @contextmanager
    def apart(self, device: torch.device) -> Iterator[None]:
        """What is drawn from torch's generators in here is not drawn from those outside."""
        generators = [torch.default_generator]
        if device.type == "cuda":
            generators.append(torch.cuda.default_generators[device.index or 0])
        states = [generator.get_state() for generator in generators]
        try:
            yield
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


class _SlowGenerator:
    """Sets a generator that takes 40 us to set, once somebody was seen to draw from it."""

    def __init__(self, set_to: Callable[[int], None], state: Callable[[], object], tries: int):
        self._set_to, self._state = set_to, state
        self._tries = tries
        self._before: object = None
        self._is_used = False

    def begin(self, seed: int) -> None:
        """A layer is about to run."""
        if self._tries > 0:
            self._tries -= 1
            self._is_used |= self._before not in (None, self._state())
            self._set_to(seed)
            self._before = self._state()
        elif self._is_used:
            self._set_to(seed)


def _seed_numpy(seed: int) -> None:
    np.random.seed(seed % 2**32)


def _state_of_numpy() -> object:
    state = np.random.get_state(legacy=False)["state"]
    return state["pos"], state["key"].tobytes()
