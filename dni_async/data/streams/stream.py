"""A part of a user's data that is passed over again and again: how one pass begins.

What draws at random does so in processes of its own, those of torch's DataLoader, so that a pass
is the same whatever draws beside it: generators belong to a whole process, and the layers of a
stage draw from them too. These processes die with the one that began the pass.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from dni_async.data.streams.states import decoded, encoded
from dni_async.files.scratch import use_scratch
from dni_async.system.machine import die_with_parent, name_process

__all__ = ["HeldBatches", "Loader", "Stream", "generators_from", "iterated"]

_AHEAD: Final = 2  # batches that each process of a loader makes ahead, as torch has it


class Stream(Protocol):
    """Something that gives batches, pass after pass."""

    @property
    def length(self) -> int | None:
        """Batches of a pass; None where it does not say."""

    def begin(
        self, number: int, seed: int, *, is_here: bool, state: Any = None
    ) -> Iterator[tuple[Any, Any]]:
        """The batches of pass number (from 0), drawn from seed alone.

        is_here: made in this process, when they are asked for, and few of them; in one beside it,
        if that is where they are expected to be made. With each the state behind it, None
        where there is none or none is kept, as plain values; state: to go on from.
        """


class HeldBatches:
    """Batches that are all in memory: a list of them."""

    def __init__(self, batches: Sequence[Any]) -> None:
        self._batches = batches

    @property
    def length(self) -> int:
        """All of them."""
        return len(self._batches)

    def begin(
        self, number: int, seed: int, *, is_here: bool, state: Any = None
    ) -> Iterator[tuple[Any, Any]]:
        """In their own order."""
        return ((batch, None) for batch in self._batches)


class Loader:
    """A DataLoader, which is this object's alone: it is set as a pass needs it.

    Its processes are made anew for each pass, persistent_workers or not, so that a pass depends on
    its seed alone; one without any gets one.

    keeps_states: say the state behind each batch, where the loader has state_dict and
    load_state_dict (as StatefulDataLoader of torchdata), or what it iterates over.
    """

    def __init__(self, loader: DataLoader[Any], *, keeps_states: bool = False) -> None:
        self._loader = loader
        self._holder = _holder(loader)
        self._num_workers = loader.num_workers
        self._keeps_states = keeps_states and self._holder is not None
        if self._keeps_states and isinstance(loader.dataset, _Iterated):
            loader.dataset.tells_states = True
        vars(loader)["persistent_workers"] = False
        self._user_init: Callable[[int], None] | None = loader.worker_init_fn

    @property
    def length(self) -> int | None:
        """What the loader says."""
        try:
            return len(self._loader)
        except (TypeError, NotImplementedError):
            return None

    def begin(
        self, number: int, seed: int, *, is_here: bool, state: Any = None
    ) -> Iterator[tuple[Any, Any]]:
        """As the loader gives them."""
        loader, is_few = self._loader, is_here
        is_here = is_here and not self._num_workers
        if is_here:
            loader.num_workers, loader.timeout = 0, 0
        else:
            loader.num_workers = 1 if is_few else max(1, self._num_workers)
            loader.prefetch_factor = loader.prefetch_factor or _AHEAD
            if sys.platform == "linux" and loader.multiprocessing_context is None:
                loader.multiprocessing_context = "fork"
            loader.worker_init_fn = _Begin(self._user_init, loader.multiprocessing_context)
        for each in _drawers(loader):
            generator = getattr(each, "generator", None)
            if isinstance(generator, torch.Generator):
                generator.manual_seed(seed)
            if hasattr(each, "set_epoch"):
                each.set_epoch(number)
        with generators_from(seed), self._set_to(state):
            batches = _apart(iter(loader), seed) if is_here else _begun(iter(loader))
        return self._told(batches)

    @contextmanager
    def _set_to(self, state: Any) -> Iterator[None]:
        """A pass that begins in here goes on from state; what iterates elsewhere is put back."""
        if state is None or self._holder is None:
            yield
            return
        before = None if self._holder is self._loader else self._holder.state_dict()
        self._holder.load_state_dict(decoded(state))
        yield
        if before is not None:
            self._holder.load_state_dict(before)

    def _told(self, batches: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        """Each with the state behind it."""
        holder = self._holder if self._keeps_states else None
        for batch in batches:
            if isinstance(batch, _Told):
                yield batch.batch, batch.state
            else:
                yield batch, None if holder is None else _state_of(holder)


def iterated(source: Any, *, keeps_states: bool = False) -> Loader:
    """Batches of source, anything that can be iterated over, or a function that gives such."""
    loader: DataLoader[Any] = DataLoader(_Iterated(source), batch_size=None, collate_fn=_as_tensors)
    return Loader(loader, keeps_states=keeps_states)


class _Iterated(IterableDataset[Any]):
    """What a user's object gives, in a process of a loader's."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.tells_states = False

    def __iter__(self) -> Iterator[Any]:
        source: Iterable[Any] = self.source if hasattr(self.source, "__iter__") else self.source()
        if not self.tells_states:
            return iter(source)
        return (_Told(batch, _state_of(self.source)) for batch in source)

    def __len__(self) -> int:
        return len(self.source)

    def set_epoch(self, number: int) -> None:
        """Pass on which pass begins, as samplers and data sets are told."""
        if hasattr(self.source, "set_epoch"):
            self.source.set_epoch(number)


@dataclass(frozen=True, slots=True)
class _Told:
    """A batch with the state behind it, on its way from a process of a loader."""

    batch: Any
    state: Any


def _holder(loader: DataLoader[Any]) -> Any:
    """Whoever says and is told where a loader is; None where nobody does."""
    held = loader.dataset.source if isinstance(loader.dataset, _Iterated) else loader
    has_state = hasattr(held, "state_dict") and hasattr(held, "load_state_dict")
    return held if has_state else None


def _state_of(holder: Any) -> Any:
    """Where it is; None where that holds what cannot be kept: its pass is then made once more."""
    with suppress(TypeError):
        return encoded(holder.state_dict())
    return None


class _Begin:
    """What a process of a loader does first: see that nothing of it outlives whoever began it.

    Its temporary files, sockets over which tensors travel, go into the run's own folder.
    context: multiprocessing's, by which the loader begins them; None for the usual one.
    """

    def __init__(self, then: Callable[[int], None] | None, context: Any) -> None:
        self._then = then
        self._parent = os.getpid()
        # A server that forks them watches over them, and is their parent.
        self._has_server = context is not None and context.get_start_method() == "forkserver"

    def __call__(self, index: int) -> None:
        if not self._has_server:
            die_with_parent(self._parent)
        name_process(f"dni-data-{index}")
        use_scratch()
        if self._then is not None:
            self._then(index)


def _as_tensors(value: Any) -> Any:
    """Arrays as tensors, which travel between processes in shared memory."""
    if isinstance(value, _Told):
        return _Told(_as_tensors(value.batch), value.state)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.from_numpy(value)
    if isinstance(value, list | tuple) and len(value) <= 64:  # a batch, no list of numbers
        return [_as_tensors(each) for each in value]
    return value


def _drawers(loader: DataLoader[Any]) -> Iterator[Any]:
    """All in a loader that may draw at random, or be told of epochs."""
    yield loader
    yield loader.dataset
    yield loader.sampler
    if loader.batch_sampler is not None:
        yield loader.batch_sampler
        yield getattr(loader.batch_sampler, "sampler", None)


@contextmanager
def generators_from(seed: int) -> Iterator[None]:
    """Torch's, Python's and numpy's generators begin at seed, and are put back afterwards."""
    before = _states()
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        _set(before)


def _apart(batches: Iterator[Any], seed: int) -> Iterator[Any]:
    """Batches that are made in this process and draw from generators of their own."""
    with generators_from(seed):
        own = _states()
    while True:
        outer = _states()
        _set(own)
        try:
            batch = next(batches)
        except StopIteration:
            return
        finally:
            own = _states()
            _set(outer)
        yield batch


def _begun(batches: Iterator[Any]) -> Iterator[Any]:
    """batches, of which a generator, as a loader of a class of the user's own may give, has begun:
    it draws and starts processes at its first batch.
    """
    return (
        batches if not isinstance(batches, Generator) else chain(list(islice(batches, 1)), batches)
    )


def _states() -> tuple[Any, Any, Any]:
    return torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)


def _set(states: tuple[Any, Any, Any]) -> None:
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])
