"""Networks of which only a part is trained: a new head on a frozen backbone, and adapters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import nn

from benchmarks.workloads.users.batches import Samples, seeded, shuffled, work_on
from benchmarks.workloads.users.figures import accuracy
from benchmarks.workloads.users.row import Asked, Row, Scale, Work
from benchmarks.workloads.users.tables import mlp

__all__ = ["ROWS", "Adapted", "Backboned", "digits"]

WIDTH, RANK, CLASSES = 64, 8, 10
NUM_TRAIN, BATCH = 1400, 50
SPLIT = ["backbone.2", "head.0", "head.2"]


class Backboned(nn.Module):
    """A backbone that stays as it is, and a head that learns."""

    def __init__(self, backbone: nn.Sequential) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.head = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[B, 64] to logits [B, 10]."""
        logits: torch.Tensor = self.head(self.backbone(pixels))
        return logits


class Adapted(nn.Module):
    """A linear layer that stays as it is, and beside it two thin ones that learn (LoRA)."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.narrowed = nn.Linear(base.in_features, RANK, bias=False)
        self.widened = nn.Linear(RANK, base.out_features, bias=False)
        nn.init.zeros_(self.widened.weight)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """As base at first."""
        made: torch.Tensor = self.base(hidden) + self.widened(self.narrowed(hidden))
        return made


@cache
def digits() -> tuple[Samples, Samples]:
    """Pixels [N, 64] in [0, 1] and classes [N]."""
    from sklearn.datasets import load_digits

    pixels, kinds = load_digits(return_X_y=True)
    order = torch.randperm(len(kinds), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(pixels / 16, dtype=torch.float32)[order], torch.tensor(kinds)[order]
    return (x[:NUM_TRAIN], y[:NUM_TRAIN]), (x[NUM_TRAIN:], y[NUM_TRAIN:])


@cache
def _learnt(seed: int) -> nn.Sequential:
    """A network that knows the digits lying on their side."""
    torch.manual_seed(seed)
    network = mlp(WIDTH, WIDTH, CLASSES)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    (pixels, kinds), _ = digits()
    lying = pixels.view(-1, 8, 8).transpose(1, 2).flatten(1)
    for epoch in range(1, 6):
        for inputs, targets in shuffled((lying, kinds), BATCH, seed=seed, epoch=epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network


def _backboned(seed: int) -> nn.Module:
    layers = list(copy.deepcopy(_learnt(seed)))
    return Backboned(nn.Sequential(*layers[:4]))


def _adapted(seed: int) -> nn.Module:
    layers = copy.deepcopy(_learnt(seed))
    return nn.Sequential(
        *(Adapted(layer) if isinstance(layer, nn.Linear) else layer for layer in layers)
    )


def _changed(before: nn.Module, after: nn.Module) -> list[str]:
    """The frozen weights that are not what they were, to the bit."""
    trained = after.state_dict()
    return [
        f"{name} is frozen and has changed"
        for name, parameter in before.named_parameters()
        if not parameter.requires_grad and not torch.equal(parameter, trained[name])
    ]


def _work(make: Callable[[int], nn.Module], split: list[str] | None, scale: Scale) -> Work:
    return work_on(
        *(*digits(), lambda: make(scale.seed), scale),
        batch_size=BATCH,
        loss=nn.CrossEntropyLoss(),
        figure=accuracy,
        epochs=scale.of(15, 1),
        lr=5e-3,
        settings={"split": split} if split else {},
        after=lambda result: _changed(seeded(lambda: make(scale.seed), scale.seed), result.model),
    )


ASKED = Asked("accuracy")
ROWS = (
    Row("frozen backbone, new head", partial(_work, _backboned, SPLIT), ASKED),
    Row("adapters beside frozen layers", partial(_work, _adapted, None), ASKED),
)
