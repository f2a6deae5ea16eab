"""The batches of a run from streams: as they come, nothing kept, the same in every process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import torch

from dni_async.config.target_form import TargetForm
from dni_async.data.feed import DataFacts
from dni_async.data.streams.checking import BatchCheck
from dni_async.data.streams.fitting import TargetFit, first_form
from dni_async.data.streams.reading import Fetches, Reader
from dni_async.data.streams.stream import Stream
from dni_async.errors import DataError
from dni_async.seeding import pass_seed

__all__ = ["StreamFeed"]

Batch = tuple[torch.Tensor, torch.Tensor]
FEW = 8  # samples that a network is tried on


class StreamFeed:
    """A training stream, and one to test on, if there is one.

    An epoch is a pass over the training stream, or updates_per_epoch of its batches: then the next
    epoch goes on where this one ended. Each test is a pass over the test stream. fit: what targets
    must be, with their form once the network has told how many classes there are.
    """

    def __init__(
        self,
        name: str,
        train: Stream,
        test: Stream | None,
        *,
        updates_per_epoch: int | None,
        seed: int,
        fetches: Fetches,
        fit: TargetFit,
    ) -> None:
        self._name = name
        self._fit = fit
        self._tried: dict[int, Batch] | None = {} if fetches == "here" else None
        self.num_batches = _num_train(train, updates_per_epoch), _num_test(test)
        self._wake = _Wake() if fetches == "ahead" else None
        streams = {"training": train, "test": test}
        self._readers = {
            part: Reader(
                part,
                stream,
                partial(pass_seed, seed, part),
                BatchCheck(part, self._fit),
                fetches=fetches,
                wake=_nobody if self._wake is None else self._wake.call,
            )
            for part, stream in streams.items()
            if stream is not None
        }

    @property
    def facts(self) -> DataFacts:
        """What the first batch shows; that of the test part is looked at too."""
        x, y = self.train_batch(1, 0)
        if self.num_batches[1]:
            self.test_batch(0)
        return DataFacts(
            name=self._name,
            input_shape=tuple(x.shape[1:]),
            form=self._fit.form or first_form(self._fit.taken, y),
            holds_ids=not x.is_floating_point(),
            lacks_classes=self._fit.form is None and self._fit.taken.kind == "classes",
            num_test=None if self.num_batches[1] else 0,
            batch_size=len(x),
        )

    def train_batch(self, epoch: int, index: int) -> Batch:
        """Inputs [B, ...] and targets of a training batch. Raises DataError."""
        place = self._place(epoch, index)
        if self._tried is None:
            return self._readers["training"].take(place)
        if place not in self._tried:  # a network is tried on the first few again and again
            self._tried[place] = self._readers["training"].take(place)
        return self._tried[place]

    def test_batch(self, index: int) -> Batch:
        """Inputs [B, ...] and targets of a test batch. Raises DataError."""
        return self._readers["test"].take(index)

    def is_ready(self, epoch: int, index: int, *, is_test: bool) -> bool:
        """Whether that batch can be had without waiting; if not, it is under way from now on."""
        if self._wake is None:
            return True
        if is_test:
            return self._readers["test"].is_ready(index)
        return self._readers["training"].is_ready(self._place(epoch, index))

    def _place(self, epoch: int, index: int) -> int:
        return (epoch - 1) * self.num_batches[0] + index

    def state(self, epoch: int, index: int) -> dict[str, Any] | None:
        """Where the training stream was before that batch; None if that is long ago."""
        return self._readers["training"].state(self._place(epoch, index))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have the training stream go on from a state."""
        self._readers["training"].restore(state)

    @property
    def wake(self) -> int | None:
        """A descriptor that can be read once a batch has come."""
        return None if self._wake is None else self._wake.readable

    def calm(self) -> None:
        """What has come is known: wake is not readable until there is more."""
        if self._wake is not None:
            self._wake.calm()

    def few_samples(self) -> torch.Tensor:
        """The first samples of the first batch."""
        return self.train_batch(1, 0)[0][:FEW]

    def agree(self, form: TargetForm) -> None:
        """Targets are of that form. Raises DataError where those seen so far are not."""
        self._fit.form = form
        for place, (x, y) in (self._tried or {}).items():
            try:
                self._fit(y, x)
            except DataError as error:
                raise DataError(f"data: batch {place} of the training part {error}") from None

    def close(self) -> None:
        """End what fetches ahead, and the processes of loaders with it."""
        for reader in self._readers.values():
            reader.close()


class _Wake:
    """A pipe by which a thread wakes whoever waits in poll."""

    def __init__(self) -> None:
        self.readable, self._writable = os.pipe()
        os.set_blocking(self.readable, False)
        os.set_blocking(self._writable, False)

    def call(self) -> None:
        with suppress(BlockingIOError):  # it is full of calls
            os.write(self._writable, b"\0")

    def calm(self) -> None:
        with suppress(BlockingIOError):
            os.read(self.readable, 4096)


def _nobody() -> None:
    """Nobody waits."""


def _num_train(train: Stream, updates_per_epoch: int | None) -> int:
    length = train.length
    if length == 0:
        raise DataError("data: the training part has no batches")
    if updates_per_epoch is None and length is None:
        raise DataError(
            "updates_per_epoch: the training part does not say its length; say how many of its "
            "batches make an epoch (--updates-per-epoch), or give it a __len__"
        )
    return updates_per_epoch or length or 0


def _num_test(test: Stream | None) -> int:
    if test is None:
        return 0
    if test.length is None:
        raise DataError(
            "data: the test part does not say its length; give it a __len__ (batches of a test), "
            "or a list of batches"
        )
    return test.length
