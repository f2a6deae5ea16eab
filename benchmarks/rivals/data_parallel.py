"""torch DistributedDataParallel over gloo: a rank holds the network and a part of each batch."""

from __future__ import annotations

import torch
from torch.nn.parallel import DistributedDataParallel

from benchmarks.rivals.rank import Rank, Share, autocast, join, train
from dni_async.network.building import build_network
from dni_async.stage.losses.catalog import run_loss

__all__ = ["main"]


def main(member: int) -> None:
    """One rank: every num_ranks-th sample of each batch, the gradients averaged."""
    rank = join(member)
    train(rank, Share(first=rank.index, skip=rank.num_ranks), _Update(rank))


class _Update:
    """As the baseline, with the gradients averaged on the way."""

    def __init__(self, rank: Rank) -> None:
        config, dataset = rank.config, rank.dataset
        network = build_network(config, dataset.input_shape, dataset.form.output_shape)
        self._loss = run_loss(config, dataset.form)
        self._parallel = DistributedDataParallel(network)
        self._autocast = autocast(config)
        self._updates = rank.updates_of(network, network)

    def __call__(self, x: torch.Tensor | None, y: torch.Tensor | None) -> float:
        assert y is not None
        with self._autocast:
            logits = self._parallel(x)
        loss = self._loss.mean(logits, y)
        value = loss.item()
        loss.backward()  # type: ignore[no-untyped-call]
        self._updates.apply()
        return value
