"""Samples in memory as batches, for plain torch the same ones in the same order as for a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.workloads.users.row import Batch, Scale, Work
from dni_async.data import batch_order

__all__ = ["Samples", "in_order", "shuffled", "work_on"]

Samples = tuple[torch.Tensor, torch.Tensor]  # inputs [N, ...], targets [N, ...]


def shuffled(samples: Samples, size: int, *, seed: int, epoch: int) -> Iterator[Batch]:
    """An epoch of samples, drawn as a run with this seed draws them."""
    for chosen in batch_order(len(samples[0]), size, seed=seed, epoch=epoch):
        index = torch.from_numpy(chosen)
        yield samples[0][index], samples[1][index]


def in_order(samples: Samples, size: int = 250) -> Iterable[Batch]:
    """As they lie, size at a time; copies, as a network may write into what it is given."""
    return zip(*(torch.split(part.clone(), size) for part in samples), strict=True)


def work_on(
    train: Samples,
    test: Samples,
    make: Callable[[], nn.Module],
    scale: Scale,
    *,
    batch_size: int,
    settings: dict[str, Any] | None = None,
    **rest: Any,
) -> Work:
    """A row's work on samples in memory. make: draws its weights from torch's generator."""
    work = {
        "network": lambda: seeded(make, scale.seed),
        "data": lambda: (train, test),
        "batches": lambda epoch: shuffled(train, batch_size, seed=scale.seed, epoch=epoch),
        "test": lambda: in_order(test),
        "settings": {"batch_size": batch_size, **(settings or {})},
    }
    return Work(**{**work, **rest})


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """What make makes of this seed."""
    torch.manual_seed(seed)
    return make()
