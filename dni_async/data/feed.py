"""What gives a run its batches: the one interface that arrays and streams both meet."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dni_async.config.target_form import TargetForm

if TYPE_CHECKING:
    import torch

__all__ = ["DataFacts", "Feed"]


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What is known of the data before a run.

    input_shape: of one sample, form: of its targets; of a stream those of its first batch.
    holds_ids: samples are int64 ids, not float32. num_train, num_test: all samples, and those of a
    test; None where a stream does not say. batch_size: of a stream's first batch. lacks_classes:
    targets are labels, but how many classes there are is for the network to say; see form_by.
    """

    name: str
    input_shape: tuple[int, ...]
    form: TargetForm
    holds_ids: bool
    num_train: int | None = None
    num_test: int | None = None
    batch_size: int | None = None
    lacks_classes: bool = False

    @property
    def is_stream(self) -> bool:
        """Whether the data are no arrays in memory."""
        return self.num_train is None

    def form_by(self, output_shape: tuple[int, ...]) -> TargetForm:
        """The form, where need be with as many classes as a network has outputs for.

        output_shape: of one sample: classes lie first before pixels, and last behind positions,
        unless those lie last.
        """
        if not self.lacks_classes or not output_shape:
            return self.form
        shape = self.form.shape
        is_last = len(shape) < 2 and output_shape[:-1] == shape
        return dataclasses.replace(self.form, num_classes=output_shape[-1 if is_last else 0])


class Feed(Protocol):
    """Batches of a run by epoch (from 1) and index, the same for every process of it."""

    @property
    def facts(self) -> DataFacts:
        """What is known of the data."""

    @property
    def num_batches(self) -> tuple[int, int]:
        """Batches per training epoch and per test."""

    def train_batch(self, epoch: int, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs [B, ...], float32 or int64 ids, and targets of a training batch."""

    def test_batch(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of a test batch, as train_batch gives them."""

    def is_ready(self, epoch: int, index: int, *, is_test: bool) -> bool:
        """Whether that batch can be had without waiting; if not, it is under way from now on."""

    @property
    def wake(self) -> int | None:
        """A descriptor that can be read once a batch has come; None where none is waited for."""

    def calm(self) -> None:
        """What has come is known: wake is not readable until there is more."""

    def few_samples(self) -> torch.Tensor:
        """A few inputs [B, ...] on which a network may be tried, unusual ones among them."""

    def state(self, epoch: int, index: int) -> dict[str, Any] | None:
        """What another feed must know, as JSON values, to go on with that training batch without
        making those before it; None where it need not, or this one does not.
        """

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""

    def agree(self, form: TargetForm) -> None:
        """Targets are of that form. Raises DataError where those seen so far are not."""

    def close(self) -> None:
        """Nothing more is asked: end what fetches ahead."""
