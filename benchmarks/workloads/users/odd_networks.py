"""Networks that plain torch trains, and that a line of stages may easily train otherwise."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from benchmarks.workloads.users.batches import Samples, work_on
from benchmarks.workloads.users.figures import accuracy
from benchmarks.workloads.users.row import Asked, Bound, Row, Scale, Work
from dni_async import TrainingResult

__all__ = ["BATCH", "LIKE_TORCH", "ROWS", "blobs", "plain_line"]

FEATURES, KINDS, WIDTH = 6, 3, 16
NUM_TRAIN, NUM_TEST, BATCH = 600, 300, 30
WORDS = 50


@cache
def blobs() -> tuple[Samples, Samples]:
    """Three clouds of points: [N, FEATURES] and [N]."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randint(0, KINDS, (NUM_TRAIN + NUM_TEST,), generator=generator)
    points = torch.randn(len(kinds), FEATURES, generator=generator) + 1.5 * kinds[:, None]
    train, test = zip(*(torch.split(part, NUM_TRAIN) for part in (points, kinds)), strict=True)
    return train, test


@cache
def _words() -> tuple[Samples, Samples]:
    """Five words each, [N, 5], and which third of the words most of them are of."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(0, WORDS, (NUM_TRAIN + NUM_TEST, 5), generator=generator)
    kinds = nn.functional.one_hot(words % KINDS, KINDS).sum(1).argmax(1)
    train, test = zip(*(torch.split(part, NUM_TRAIN) for part in (words, kinds)), strict=True)
    return train, test


def line(*between: nn.Module, first: nn.Module | None = None) -> nn.Sequential:
    """A network of four layers: first, two between, and the classes."""
    first = first or nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.ReLU())
    return nn.Sequential(first, *between, nn.Linear(WIDTH, KINDS))


def _dense() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU())


class Skips(nn.Sequential):
    """Does not do what its children do one after another."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self[0](x)
        logits: torch.Tensor = self[3](hidden + self[2](self[1](hidden)))
        return logits


class Annealed(nn.Module):
    """Keeps what it has learnt as an attribute of Python."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.temperature = nn.Linear(WIDTH, WIDTH), 3.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.temperature = max(0.1, 0.9 * self.temperature)
        return x + torch.tanh(self.inner(x) / self.temperature)


class Scaled(nn.Module):
    """Writes into the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.inner(x.sub_(1.0).mul_(0.5)))


class Activated(nn.Module):
    """Begins by writing into what came from below."""

    def __init__(self) -> None:
        super().__init__()
        self.activation, self.inner = nn.ReLU(inplace=True), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.inner(self.activation(x))
        return hidden


class Dropped(nn.Module):
    """Is left out now and then, as Python's own generator has it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.training and random.random() < 0.2 else x + torch.relu(self.inner(x))


class Checkpointed(nn.Module):
    """Computes its insides once more in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = _dense()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        repeats = partial(checkpoint, use_reentrant=True) if self.training else nn.Module.__call__
        hidden: torch.Tensor = repeats(self.inner, x)
        return hidden


class Remembering(nn.Module):
    """Leaves its input in an object that another layer looks into."""

    def __init__(self, kept: dict[str, torch.Tensor], *, adds: bool) -> None:
        super().__init__()
        self.inner, self.kept, self.adds = nn.Linear(WIDTH, WIDTH), kept, adds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.adds:
            self.kept["x"] = x
            return torch.relu(self.inner(x))
        return torch.relu(self.inner(x)) + self.kept["x"]


class MeanOfWords(nn.Module):
    """The mean of what the words mean, from a table whose gradient is sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, WIDTH, sparse=True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        mean: torch.Tensor = self.table(ids).mean(1)
        return mean


def plain_line() -> nn.Sequential:
    """Four linear layers."""
    return line(_dense(), _dense())


def _hooked() -> nn.Sequential:
    network = plain_line()
    network.register_forward_hook(lambda module, given, outputs: outputs.flip(-1))
    return network


def _remembering() -> nn.Sequential:
    kept: dict[str, torch.Tensor] = {}
    return line(Remembering(kept, adds=False), Remembering(kept, adds=True))


def _random() -> nn.Sequential:
    """Dropout and BatchNorm, which a replay must not draw and count anew."""
    layer = partial(nn.Linear, WIDTH, WIDTH)
    return line(
        nn.Sequential(layer(), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Dropout(0.5)),
        nn.Sequential(layer(), nn.ReLU(), nn.Dropout(0.5)),
    )


def _normalised() -> nn.Sequential:
    norms = nn.utils.parametrizations
    return nn.Sequential(
        norms.weight_norm(nn.Linear(FEATURES, WIDTH)),
        norms.spectral_norm(nn.Linear(WIDTH, WIDTH)),
        norms.orthogonal(nn.Linear(WIDTH, WIDTH)),
        nn.Linear(WIDTH, KINDS),
    )


def _wordy() -> nn.Sequential:
    return line(_dense(), _dense(), first=MeanOfWords())


def _counted(updates: int, result: TrainingResult) -> list[str]:
    """Each batch counted once."""
    norms = [module for module in result.model.modules() if isinstance(module, nn.BatchNorm1d)]
    counts = [int(norm.num_batches_tracked or 0) for norm in norms]
    return [f"BatchNorm counted {count} of {updates}" for count in counts if count != updates]


@dataclass(frozen=True, slots=True)
class Case:
    """One of these networks, with what its run is told. is_chain: whether it can be cut."""

    name: str
    make: Callable[[], nn.Module]
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_chain: bool = True

    def row(self) -> Row:
        """As the table has it: as accurate as by plain torch, or, where it is no chain, refused."""
        asked = Asked(
            "accuracy",
            LIKE_TORCH,
            may_refuse=not self.is_chain,
            in_lockstep=self.make is _random and self.settings == ANCHORS,
        )
        return Row(self.name, self._work, asked)

    def _work(self, scale: Scale) -> Work:
        epochs = scale.of(6, 1)
        rest: dict[str, Any] = {"lr": 5e-3}
        if self.make is _wordy:
            rest = {"lr": 0.05, "descent": "sgd"}  # Adam takes no sparse gradients
        return work_on(
            *(*(_words() if self.make is _wordy else blobs()), self.make, scale),
            batch_size=BATCH,
            loss=nn.CrossEntropyLoss(),
            figure=accuracy,
            epochs=epochs,
            settings=dict(self.settings),
            after=partial(_counted, epochs * NUM_TRAIN // BATCH),
            **rest,
        )


LIKE_TORCH = Bound(0.05)
ANCHORS: dict[str, Any] = {"anchor_every": 4, "anchor_updates": True}
CASES = (
    Case("a forward of its own", lambda: Skips(*line(_dense(), _dense())), is_chain=False),
    Case("a hook on the container", _hooked, is_chain=False),
    Case("an annealed attribute", lambda: line(Annealed(), Annealed())),
    Case("writes into the samples", lambda: line(_dense(), _dense(), first=Scaled())),
    Case("dropout, BatchNorm, fdg", _random, {"rule": "fdg"}),
    Case("dropout, BatchNorm, anchors", _random, ANCHORS),
    Case("a skip through an object", _remembering, is_chain=False),
    Case(
        "in-place ReLU first",
        lambda: line(Activated(), Activated(), first=nn.Linear(FEATURES, WIDTH)),
    ),
    Case("a layer left out at random", lambda: line(Dropped(), Dropped())),
    Case("reentrant checkpointing", lambda: line(Checkpointed(), Checkpointed())),
    Case("sparse embedding", _wordy),
    Case("weight, spectral, orthogonal", _normalised),
)
ROWS = tuple(case.row() for case in CASES)
