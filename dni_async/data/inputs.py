"""Batches of a data set in memory, in the same order for workers and baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.data import Dataset, batch_order, load_dataset
from dni_async.data.feed import DataFacts

__all__ = ["Inputs"]


class Inputs:
    """Training batches shuffled anew each pass, test batches in file order.

    An epoch is a pass over all training samples, or updates_per_epoch batches: then the next epoch
    goes on where this one ended.

    Bytes become numbers batch by batch: MNIST takes 55 MB and not 220.
    """

    def __init__(
        self, dataset: Dataset, *, batch_size: int, seed: int, updates_per_epoch: int | None = None
    ) -> None:
        self._dataset = dataset
        self._updates_per_epoch = updates_per_epoch
        self._batch_size = batch_size
        self._seed = seed
        self._pass = 0  # from 1
        self._order: list[np.ndarray] = []

    @classmethod
    def from_config(cls, config: RunConfig) -> Inputs:
        """Load what the run names. Raises DataError."""
        folder = None if config.data_dir is None else Path(config.data_dir)
        dataset = load_dataset(config.data, folder, config.taken)
        return cls.of(dataset, config)

    @classmethod
    def of(cls, dataset: Dataset, config: RunConfig) -> Inputs:
        """Of a data set, in batches as a run asks for them."""
        return cls(
            dataset,
            batch_size=config.batch_size,
            seed=config.seed,
            updates_per_epoch=config.updates_per_epoch,
        )

    @property
    def facts(self) -> DataFacts:
        """What is known of the data set."""
        data = self._dataset
        return DataFacts(
            name=data.name,
            input_shape=data.input_shape,
            form=data.form,
            holds_ids=data.holds_ids,
            num_train=len(data.y_train),
            num_test=len(data.y_test),
        )

    @property
    def num_train(self) -> int:
        """All training samples."""
        return len(self._dataset.y_train)

    @property
    def num_train_batches(self) -> int:
        """Batches per training epoch; of a whole pass a ragged last one included."""
        return self._updates_per_epoch or self._batches_of_a_pass

    @property
    def _batches_of_a_pass(self) -> int:
        return -(-self.num_train // self._batch_size)

    @property
    def num_test_batches(self) -> int:
        """Batches per evaluation."""
        return -(-len(self._dataset.y_test) // self._batch_size)

    @property
    def num_batches(self) -> tuple[int, int]:
        """Batches per training epoch and per evaluation."""
        return self.num_train_batches, self.num_test_batches

    def train_batch(self, epoch: int, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples [B, ...] and targets [B, ...] of a training batch; epochs from 1.

        Samples are float32, or int64 where the data set holds ids.
        """
        if self._updates_per_epoch:
            place = (epoch - 1) * self._updates_per_epoch + index
            epoch, index = place // self._batches_of_a_pass + 1, place % self._batches_of_a_pass
        if epoch != self._pass:
            self._pass = epoch
            self._order = batch_order(
                self.num_train, self._batch_size, seed=self._seed, epoch=epoch
            )
        data, chosen = self._dataset, self._order[index]
        x, y = data.x_train.take(chosen, axis=0), data.y_train.take(chosen, axis=0)
        return torch.from_numpy(data.decode(x)), torch.from_numpy(y)

    def test_batch(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples [B, ...] and targets of a test batch, as train_batch gives them."""
        data, part = self._dataset, slice(index * self._batch_size, (index + 1) * self._batch_size)
        return torch.from_numpy(data.decode(data.x_test[part])), torch.from_numpy(data.y_test[part])

    def is_ready(self, epoch: int, index: int, *, is_test: bool) -> bool:
        """All batches are there."""
        return True

    wake = None

    def calm(self) -> None:
        """Nobody is woken."""

    def few_samples(self) -> torch.Tensor:
        """Test samples, if there are any; of ids also those with the largest one, which a network
        may not know.
        """
        data = self._dataset
        parts = [x for x in (data.x_test, data.x_train) if len(x)]
        few = [parts[0][:4]]
        if data.holds_ids:
            for x in parts:
                largest = int(x.argmax()) // data.num_features
                few.append(x[largest : largest + 1])
        return torch.from_numpy(data.decode(np.concatenate(few)))

    def state(self, epoch: int, index: int) -> None:
        """Any batch can be had without those before it."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """There is none."""

    def agree(self, form: TargetForm) -> None:
        """All targets have been looked at."""

    def close(self) -> None:
        """Nothing is fetched ahead."""
