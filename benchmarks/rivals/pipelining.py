"""torch.distributed.pipelining: GPipe or 1F1B, one rank for each stage, over gloo."""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import get_schedule_class

from benchmarks.rivals.rank import Rank, Share, autocast, join, train
from dni_async.network.building import build_network, cut_stage, layer_starts
from dni_async.network.partition import split_layers
from dni_async.stage.losses.catalog import run_loss

__all__ = ["main", "num_microbatches"]

MICROBATCHES = 8


def num_microbatches(batch_size: int, most: int = MICROBATCHES) -> int:
    """8 or what else is asked for, else as many as divide the batch."""
    return next(count for count in range(most, 0, -1) if batch_size % count == 0)


def main(member: int) -> None:
    """One rank: the same cut, weights, batches and optimizer as our own stages."""
    rank = join(member)
    update = _Update(rank)
    train(rank, Share(samples=update.is_first, labels=update.is_last), update)


class _Layers(nn.Module):
    """A rank's layers, in the run's number format."""

    def __init__(self, layers: nn.Sequential, context: torch.autocast) -> None:
        super().__init__()
        self._layers = layers
        self._context = context

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As our stages do."""
        with self._context:
            outputs: torch.Tensor = self._layers(x)
        return outputs


class _Update:
    """One batch through the schedule, then the optimizer; same mathematics as the baseline."""

    def __init__(self, rank: Rank) -> None:
        config, dataset = rank.config, rank.dataset
        network = build_network(config, dataset.input_shape, dataset.form.output_shape)
        ranges = split_layers(len(layer_starts(network)), rank.num_ranks)
        layers = cut_stage(network, *ranges[rank.index])
        self.is_first, self.is_last = rank.index == 0, rank.index == rank.num_ranks - 1
        stage = PipelineStage(
            _Layers(layers, autocast(config)), rank.index, rank.num_ranks, torch.device("cpu")
        )
        self._schedule = get_schedule_class(rank.order["schedule"])(
            stage,
            num_microbatches(config.batch_size, rank.order.get("microbatches", MICROBATCHES)),
            loss_fn=run_loss(config, dataset.form).mean,
        )
        self._updates = rank.updates_of(layers, network)

    def __call__(self, x: torch.Tensor | None, y: torch.Tensor | None) -> float:
        losses: list[torch.Tensor] | None = [] if self.is_last else None
        inputs = () if x is None else (x,)
        self._schedule.step(*inputs, target=y, losses=losses, return_outputs=False)
        self._updates.apply()
        return float(torch.stack(losses).mean().item()) if losses else 0.0
