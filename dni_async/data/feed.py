"""What gives a run its batches: the one interface that arrays and streams both meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dni_async.config.target_form import TargetForm

if TYPE_CHECKING:
    import torch

__all__ = ["DataFacts", "Feed"]


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What is known of the data before a run.

    input_shape: of one sample; form: of its targets. holds_ids: samples are int64 ids, not
    float32. num_train, num_test, num_test_labels: samples of an epoch, of a test, and what is
    scored in one: labels that count, of other targets samples.
    """

    name: str
    input_shape: tuple[int, ...]
    form: TargetForm
    holds_ids: bool
    num_train: int
    num_test: int
    num_test_labels: int


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

    def few_samples(self) -> torch.Tensor:
        """A few inputs [B, ...] on which a network may be tried, unusual ones among them."""

    def close(self) -> None:
        """Nothing more is asked: end what fetches ahead."""
