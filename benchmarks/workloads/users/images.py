"""Images of ten kinds: CIFAR's where they are, else drawn; a residual network and a transformer."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.workloads.users.batches import Samples, work_on
from benchmarks.workloads.users.figures import accuracy
from benchmarks.workloads.users.row import Asked, Row, Scale, Work

__all__ = ["ROWS", "Logits", "drawn", "pixels"]

ROOT = Path(__file__).resolve().parents[3]
SIDE, KINDS, BATCH, SHIFT = 32, 10, 50, 4


class Logits(nn.Module):
    """What a model of transformers gives beside other things."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[B, ...] to [B, ..., classes]."""
        logits: torch.Tensor = self.network(inputs).logits
        return logits


class Augmented(Dataset[tuple[torch.Tensor, int]]):
    """Images as training sees them: mirrored now and then, and shifted by a few pixels."""

    def __init__(self, images: torch.Tensor, kinds: torch.Tensor) -> None:
        self.images, self.kinds = images, kinds

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = self.images[index]
        if torch.rand(()) < 0.5:
            image = image.flip(-1)
        row, column = torch.randint(0, 2 * SHIFT + 1, (2,)).tolist()
        image = functional.pad(image, [SHIFT] * 4)
        return image[:, row : row + SIDE, column : column + SIDE], int(self.kinds[index])


@dataclass(frozen=True, slots=True)
class Images:
    """Samples [N, 3, 32, 32] float32 about 0, and kinds [N] int64."""

    train: Samples
    test: Samples


@cache
def images(num_train: int, num_test: int) -> Images:
    """CIFAR's in ``cifar/cifar_small.npz``, in DNI_DATA_DIR or beside this checkout; else drawn."""
    folder = Path(os.environ.get("DNI_DATA_DIR") or ROOT.parent / "shared" / "data")
    try:
        with np.load(folder / "cifar" / "cifar_small.npz") as held:
            train = pixels(held["x_train"][:num_train]), torch.tensor(held["y_train"][:num_train])
            test = pixels(held["x_test"][:num_test]), torch.tensor(held["y_test"][:num_test])
    except OSError:
        train, test = drawn(num_train, seed=0), drawn(num_test, seed=1)
    return Images(train, test)


def pixels(images: Any) -> torch.Tensor:
    """[N, 32, 32, 3] uint8 as [N, 3, 32, 32] float32 about 0."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 64 - 2


def drawn(count: int, seed: int) -> Samples:
    """Stripes of ten widths and directions in noise."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(0, KINDS, (count,), generator=generator)
    phase = 6.3 * torch.rand(count, 1, 1, generator=generator)
    angle = (kinds * 0.314)[:, None, None]
    along = torch.arange(SIDE) * angle.cos() + torch.arange(SIDE)[:, None] * angle.sin()
    stripes = torch.sin(along * 0.9 + phase)[:, None].expand(-1, 3, -1, -1)
    return stripes + torch.randn(stripes.shape, generator=generator), kinds


def _residual(scale: Scale) -> Work:
    held = images(scale.of(2000, 200), scale.of(500, 100))

    def loader() -> DataLoader[tuple[torch.Tensor, int]]:
        return DataLoader(
            Augmented(*held.train),
            batch_size=BATCH,
            shuffle=True,
            num_workers=2,
            generator=torch.Generator().manual_seed(scale.seed),
        )

    passes = loader()  # each pass over it is the next epoch
    return work_on(
        *(held.train, held.test, _resnet, scale),
        batch_size=BATCH,
        data=lambda: (loader(), held.test),
        batches=lambda epoch: passes,
        loss=nn.CrossEntropyLoss(),
        figure=accuracy,
        epochs=scale.of(4, 1),
        lr=2e-3,
        settings={"split": [f"network.resnet.encoder.stages.{stage}" for stage in (1, 2, 3)]},
    )


def _resnet() -> nn.Module:
    transformers: Any = importlib.import_module("transformers")
    config = transformers.ResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 24, 32, 48],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        num_labels=KINDS,
    )
    return Logits(transformers.ResNetForImageClassification(config))


def _patches(scale: Scale) -> Work:
    held = images(scale.of(2000, 200), scale.of(500, 100))
    return work_on(
        *(held.train, held.test, _vit, scale),
        batch_size=BATCH,
        loss=nn.CrossEntropyLoss(),
        figure=accuracy,
        epochs=scale.of(4, 1),
        lr=1e-3,
        settings={"split": [f"network.vit.layers.{block}" for block in (1, 2, 3)]},
    )


def _vit() -> nn.Module:
    transformers: Any = importlib.import_module("transformers")
    config = transformers.ViTConfig(
        image_size=SIDE,
        patch_size=8,
        hidden_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=96,
        num_labels=KINDS,
    )
    return Logits(transformers.ViTForImageClassification(config))


RUNS = Asked("accuracy", in_lockstep=True)
ROWS = (
    Row("ResNet, augmented", _residual, RUNS, needs=("transformers",)),
    Row("ViT-tiny, by blocks", _patches, Asked("accuracy"), needs=("transformers",)),
)
