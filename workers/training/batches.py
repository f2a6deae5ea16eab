"""The batches in a worker's hands, and how they come there: from the data and from neighbours."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from dni_async.decisions.actions import Batch
from dni_async.stage.dtypes import activation_dtypes, needs_samples
from dni_async.stage.values import (
    Gradient,
    Hidden,
    Structure,
    arranged,
    as_gradient,
    each,
    gathered,
)
from dni_async.wire.messages import Activation, ReturnedGradient
from dni_async.workers.reporting.spans import Spans
from dni_async.workers.startup.equipment import Equipment
from dni_async.workers.startup.seat import Seat
from dni_async.workers.training.arrivals import Parts, check_activation, check_gradient

__all__ = ["Batches", "Work"]


@dataclass(slots=True)
class Work:
    """One batch in a worker's hands. labels_host: as they travel; labels: on the device.

    samples: what the inputs were predicted from, until that has been learnt from. is_counted: the
    staleness of its returned gradient is.
    """

    inputs: Hidden | None
    labels: torch.Tensor
    labels_host: torch.Tensor
    hidden: Hidden | None = None
    version: int = 0
    returned: Gradient | None = None
    input_gradient: Gradient | None = None
    samples: torch.Tensor | None = None
    is_counted: bool = False


class Batches:
    """The tensors of every batch from its arrival until it is forgotten, by batch_id."""

    def __init__(self, seat: Seat, equipment: Equipment, spans: Spans) -> None:
        self._stage = seat.stage
        self._loss = equipment.stage.loss
        self._predicts_inputs = equipment.input_synthesizer is not None
        self._feed = equipment.inputs
        self._to_device = equipment.staging.to_device
        self._from_link = equipment.staging.from_link
        self._spans = spans
        self._dtypes = activation_dtypes(seat.config)
        self._are_samples = needs_samples(seat.config)
        self._work: dict[int, Work] = {}
        self._targets: dict[int, Hidden] = {}
        self._copies: dict[int, Work] = {}

    def __getitem__(self, batch_id: int) -> Work:
        return self._work[batch_id]

    def take_activation(self, message: Activation, tensors: list[torch.Tensor]) -> None:
        """Keep an arrived batch until its turn; where inputs are predicted, only as a target.

        Raises LinkError if its tensors do not fit.
        """
        values, structure, labels = check_activation(
            self._stage,
            message,
            tensors,
            self._dtypes,
            self._loss,
            are_samples=self._are_samples,
        )
        hidden, batch_id = self._arranged(values, structure), message.batch_id
        if self._predicts_inputs and message.purpose == "train":
            self._targets[batch_id] = hidden
        else:
            self._work[batch_id] = Work(hidden, self._to_device(labels), labels)
        self._spans.lap("receive", batch_id)

    def pop_target(self, batch_id: int) -> torch.Tensor:
        """The activation [B, ...] that came for a batch whose input was predicted."""
        target = self._targets.pop(batch_id)
        assert isinstance(target, torch.Tensor)  # inputs of several values are not predicted
        return target

    def take_gradient(self, message: ReturnedGradient, tensors: list[torch.Tensor]) -> None:
        """Keep a returned gradient. Raises LinkError if it does not fit its activation."""
        work = self._work.get(message.batch_id)
        hidden = None if work is None else work.hidden
        gradients = check_gradient(self._stage, message, tensors, hidden, self._dtypes)
        assert work is not None  # or there would be no activation to fit
        assert hidden is not None
        work.returned = as_gradient(hidden, [self._from_link(parts) for parts in gradients])
        self._spans.lap("receive gradient", message.batch_id)

    @property
    def wake(self) -> int | None:
        """A descriptor that can be read once samples have come that were waited for."""
        return None if self._feed is None else self._feed.wake

    def calm(self) -> None:
        """What has come is known."""
        if self._feed is not None:
            self._feed.calm()

    def is_here(self, batch: Batch) -> bool:
        """Whether batch's samples can be loaded without waiting; if not, they are under way."""
        if batch.batch_id in self._work or self._feed is None:
            return True
        is_test = batch.purpose == "evaluate"
        return self._feed.is_ready(batch.epoch, batch.index, is_test=is_test)

    def close(self) -> None:
        """No more samples are wanted."""
        if self._feed is not None:
            self._feed.close()

    def load(self, batch: Batch) -> None:
        """Fetch batch's samples, unless they were fetched ahead."""
        if batch.batch_id not in self._work:
            self._fetch(batch)

    def load_ahead(self, batch: Batch) -> bool:
        """With nothing else to do: fetch batch's samples; False if that is done already.

        The first batch of an epoch is not fetched before the epoch begins: its time counts.
        """
        if batch.batch_id in self._work or batch.index == 0 or not self.is_here(batch):
            return False
        self._spans.begin()
        self._fetch(batch)
        return True

    def keep(self, batch_id: int, gives_way: int | None) -> None:
        """Copy a batch's inputs and labels, to be recalled; drop the copy of another."""
        work = self._work[batch_id]
        assert work.inputs is not None
        if gives_way is not None:
            del self._copies[gives_way]
        # The slot that the inputs lie in is about to be given back.
        inputs = each(work.inputs, torch.Tensor.clone)
        copy = Work(inputs, work.labels.clone(), work.labels_host)
        self._copies[batch_id] = copy

    def recall(self, kept_id: int, batch_id: int) -> None:
        """Take a copy into hand, as batch_id."""
        self._work[batch_id] = dataclasses.replace(self._copies[kept_id])

    def forget(self, batch_id: int) -> None:
        """Drop what is kept of a batch, if anything is: what came again was never taken up."""
        self._work.pop(batch_id, None)
        self._targets.pop(batch_id, None)

    def _fetch(self, batch: Batch) -> None:
        assert self._feed is not None  # or there would be nothing to load
        if batch.purpose == "train":
            x, y = self._feed.train_batch(batch.epoch, batch.index)
        else:
            x, y = self._feed.test_batch(batch.index)
        inputs = each(gathered(x), self._to_device)
        self._work[batch.batch_id] = Work(inputs, self._to_device(y), y)
        self._spans.lap("load", batch.batch_id)

    def _arranged(self, values: list[Parts], structure: Structure | None) -> Hidden:
        """The values of an activation, on the device."""
        needs = (0,) if structure is None else structure.needs
        tensors = [
            self._from_link(parts) if place in needs else self._to_device(parts[0])
            for place, parts in enumerate(values)
        ]
        return arranged(tensors, structure)
