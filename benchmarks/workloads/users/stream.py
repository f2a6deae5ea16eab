"""Ten million samples, made while they are read: far more than a process of the run may hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.workloads.users.batches import work_on
from benchmarks.workloads.users.figures import accuracy
from benchmarks.workloads.users.row import Asked, Batch, Row, Scale, Work
from benchmarks.workloads.users.tables import mlp
from dni_async import TrainingResult

__all__ = ["ROWS", "Stream"]

LENGTH, FEATURES, CLASSES = 10_000_000, 256, 10
LIMIT_BYTES = 1_000_000_000  # of each process's own memory; the samples are ten times as much
WIDTH, BATCH = 1024, 256
EPOCHS = 4
MOST_GROWTH_BYTES = 16 << 20
MOST_WAITING = 0.05


class Stream(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Points, and which of some directions each lies furthest along. The same at each pass."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed = length, seed
        self.directions = torch.randn(FEATURES, CLASSES, generator=self._generator(0))

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        generator = self._generator(1)
        for start in range(0, self.length, BATCH):
            points = torch.randn(BATCH, FEATURES, generator=generator)
            kinds = (points @ self.directions).argmax(1)
            yield from islice(zip(points, kinds, strict=True), self.length - start)

    def _generator(self, which: int) -> torch.Generator:
        return torch.Generator().manual_seed(2 * self.seed + which)


def _work(scale: Scale) -> Work:
    updates = scale.of(100, 10) if not scale.is_full else LENGTH // BATCH // EPOCHS
    stream = Stream(LENGTH, scale.seed)
    held = Stream(2_000, scale.seed + 1)
    held.directions = stream.directions
    points, kinds = (torch.stack(part) for part in zip(*held, strict=True))
    test = points, kinds
    return work_on(
        *(test, test, lambda: mlp(FEATURES, WIDTH, CLASSES), scale),
        batch_size=BATCH,
        data=lambda: (DataLoader(stream, batch_size=BATCH), test),
        batches=_Passes(stream, updates),
        loss=nn.CrossEntropyLoss(),
        figure=accuracy,
        epochs=EPOCHS,
        lr=1e-3,
        settings={"updates_per_epoch": updates},
        limit_bytes=LIMIT_BYTES,
        after=(lambda result: []) if scale.is_quick else _complaints,
    )


class _Passes:
    """The batches of an epoch: those that follow the ones of the epoch before."""

    def __init__(self, stream: Stream, updates: int) -> None:
        self._batches, self._updates = iter(DataLoader(stream, batch_size=BATCH)), updates

    def __call__(self, epoch: int) -> Iterable[Batch]:
        return islice(self._batches, self._updates)


def _complaints(result: TrainingResult) -> list[str]:
    """Of the source's memory, epoch by epoch, and of what it waited for samples."""
    assert result.run_dir is not None
    lines = (result.run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    told = [row["worker"] for row in map(json.loads, lines) if "worker" in row]
    sizes = [row["rss_bytes"] for row in told if row["stage"] == 0]
    grown = sizes[-1] - sizes[1]  # in the first epoch everything is met for the first time
    complaints = []
    if grown > MOST_GROWTH_BYTES:
        complaints.append(f"the source grew by {grown / 1e6:.0f} MB after the second epoch")
    waiting = result.report["runs"][0]["workers"][0]["waiting_for_data"]
    if waiting > MOST_WAITING:
        complaints.append(f"the source waited for samples for {waiting:.1%} of its time")
    return complaints


ROWS = (Row("10 million samples, streamed", _work, Asked("accuracy")),)
