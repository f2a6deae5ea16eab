"""A feed for a short trial of a run: its tests are on training batches that it holds back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dni_async.config.target_form import TargetForm
from dni_async.data.feed import DataFacts, Feed

if TYPE_CHECKING:
    import torch

__all__ = ["HeldOut", "num_held"]

Batch = tuple["torch.Tensor", "torch.Tensor"]
SAMPLES = 1000  # held back, or a quarter of all
PART = 4


def num_held(num_batches: int, batch_size: int) -> int:
    """How many of the batches of a pass are held back; 0 where nothing would be left."""
    if num_batches < 2:
        return 0
    return max(1, min(-(-SAMPLES // batch_size), num_batches // PART))


class HeldOut:
    """The batches of a run's first epoch, of which the first ones are never trained on.

    feed: of the run. An epoch has epoch_batches of the others, in their order, and begins where the
    one before ended; after the last of them the first comes again. The last batch of feed is left
    out, as it may be a small one. So it never looks at what the run is tested on.
    """

    def __init__(self, feed: Feed, *, batch_size: int, epoch_batches: int) -> None:
        self._feed = feed
        total = feed.num_batches[0]
        count = num_held(total, batch_size)
        self._held = [feed.train_batch(1, index) for index in range(count)]
        self._num_left = max(1, total - count - 1)
        self.num_batches = (epoch_batches, count)

    @property
    def facts(self) -> DataFacts:
        """What is known of the data."""
        return self._feed.facts

    def train_batch(self, epoch: int, index: int) -> Batch:
        """Inputs [B, ...] and targets of a training batch. Raises DataError."""
        place = (epoch - 1) * self.num_batches[0] + index
        return self._feed.train_batch(1, len(self._held) + place % self._num_left)

    def test_batch(self, index: int) -> Batch:
        """Inputs [B, ...] and targets of a batch that is held back."""
        return self._held[index]

    def is_ready(self, epoch: int, index: int, *, is_test: bool) -> bool:
        """Always: it is read when it is asked for."""
        return True

    @property
    def wake(self) -> int | None:
        """Nothing is waited for."""
        return None

    def calm(self) -> None:
        """Nothing has come."""

    def few_samples(self) -> torch.Tensor:
        """As the run's feed."""
        return self._feed.few_samples()

    def state(self, epoch: int, index: int) -> dict[str, Any] | None:
        """None: nobody goes on from here."""
        return None

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nobody does."""

    def agree(self, form: TargetForm) -> None:
        """As the run's feed."""
        self._feed.agree(form)

    def close(self) -> None:
        """As the run's feed."""
        self._feed.close()
