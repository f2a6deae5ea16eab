"""What every rank of a torch.distributed rival does: the same batches, timed epochs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from benchmarks.harness.member import answer
from benchmarks.harness.shares import hold_process
from benchmarks.rivals.lanes.gloo import join_group
from dni_async.config.run_config import RunConfig
from dni_async.data import Dataset, batch_order, load_dataset
from dni_async.stage.descent.making import make_optimizer
from dni_async.stage.descent.muon import tables_of
from dni_async.stage.descent.rates import make_rate_factor
from dni_async.stage.descent.updates import Updates
from dni_async.stage.dtypes import AUTOCAST_DTYPES
from dni_async.stage.threads import prepare_torch

__all__ = ["Rank", "Share", "autocast", "join", "train"]

UpdateOnBatch = Callable[[torch.Tensor | None, torch.Tensor | None], float]


@dataclass(frozen=True, slots=True)
class Rank:
    """One process of a rival, after it has joined the others."""

    index: int
    num_ranks: int
    config: RunConfig
    dataset: Dataset
    order: dict[str, Any]  # all that the benchmark asked for

    @property
    def num_batches(self) -> int:
        """Of an epoch: full ones."""
        return len(self.dataset.y_train) // self.config.batch_size

    def updates_of(self, layers: nn.Module, network: nn.Module) -> Updates:
        """The run's optimizer and schedule for layers, which are all of network or a part of it."""
        config = self.config
        optimizer = make_optimizer(
            list(layers.named_parameters()),
            config,
            list(network.named_parameters()),
            tables=tables_of(layers),
        )
        num_batches = config.epochs * self.num_batches
        return Updates(layers, optimizer, rate_factor=make_rate_factor(config, num_batches))


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of a batch a rank needs: the samples, the labels; every skip-th from first on."""

    samples: bool = True
    labels: bool = True
    first: int = 0
    skip: int = 1


def join(index: int) -> Rank:
    """Hear what is asked for, load the data, meet the other ranks."""
    order = json.loads(sys.stdin.readline())
    config = RunConfig.from_dict(order["config"])
    prepare_torch(order["num_threads"])
    folder = None if config.data_dir is None else Path(config.data_dir)
    dataset = load_dataset(config.data, folder, config.taken)
    join_group(order["store"], index, order["num_ranks"])
    return Rank(index, order["num_ranks"], config, dataset, order)


def autocast(config: RunConfig) -> torch.autocast:
    """The run's number format for products, as in our own stages and in the baseline."""
    dtype = AUTOCAST_DTYPES[config.dtype]
    return torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None)


def train(rank: Rank, share: Share, update: UpdateOnBatch) -> None:
    """Every epoch of the run: update(x, y) on each full batch gives the batch's loss.

    Tells seconds from barrier to barrier and the mean loss. The batches are those of our own
    runs, in the same order, less a ragged last one, which no pipeline takes. Where groups are
    named, one each, this process is held to its share of a core from here on.
    """
    config = rank.config
    if rank.order.get("groups"):
        hold_process(Path(rank.order["groups"][rank.index]), os.getpid())
    x_train = torch.from_numpy(rank.dataset.decode(rank.dataset.x_train))
    y_train = torch.from_numpy(rank.dataset.y_train)
    for epoch in range(1, config.epochs + 1):
        dist.barrier()
        began = time.perf_counter()
        batches = batch_order(len(y_train), config.batch_size, seed=config.seed, epoch=epoch)
        losses = 0.0
        for batch in batches[: rank.num_batches]:
            chosen = torch.from_numpy(batch[share.first :: share.skip])
            x = x_train.index_select(0, chosen) if share.samples else None
            y = y_train.index_select(0, chosen) if share.labels else None
            losses += update(x, y)
        dist.barrier()
        seconds = time.perf_counter() - began
        answer({"epoch": epoch, "seconds": seconds, "train_loss": losses / rank.num_batches})
    dist.destroy_process_group()
