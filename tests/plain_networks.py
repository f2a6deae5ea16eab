"""Networks of different kinds, as users write them; named ``tests.plain_networks:NAME``."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["cnn", "residual_mlp", "tagger", "transformer", "vit"]

NUM_CLASSES, NUM_IDS, LENGTH = 4, 11, 12


def cnn() -> nn.Sequential:
    """Convolutions with BatchNorm, dropout of channels and of features."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.2),
        nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(8, NUM_CLASSES),
    )  # fmt: skip


class _Lstm(nn.Module):
    """An LSTM in both directions that gives its outputs alone, with dropout between its layers."""

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(
            num_inputs, 8, num_layers=2, dropout=0.3, bidirectional=True, batch_first=True
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, features] to [B, T, 16]."""
        outputs: torch.Tensor = self.lstm(x)[0]
        return outputs


def tagger() -> nn.Sequential:
    """A class for each position of a sequence of ids."""
    return nn.Sequential(
        nn.Embedding(NUM_IDS, 8, padding_idx=0), nn.Dropout(0.1), _Lstm(8), _Lstm(16),
        nn.Linear(16, NUM_CLASSES),
    )  # fmt: skip


class _Positions(nn.Module):
    """Ids and where they stand."""

    def __init__(self) -> None:
        super().__init__()
        self.ids, self.places = nn.Embedding(NUM_IDS, 16), nn.Embedding(LENGTH, 16)
        self.dropout = nn.Dropout(0.1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """[B, T] to [B, T, 16]."""
        places = torch.arange(ids.shape[1], device=ids.device)
        outputs: torch.Tensor = self.dropout(self.ids(ids) + self.places(places))
        return outputs


class _Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Over the positions."""
        return x.mean(1)


def transformer() -> nn.Sequential:
    """torch's own encoder layers, with dropout in attention and after it."""
    blocks = [
        nn.TransformerEncoderLayer(16, 2, 32, dropout=0.2, batch_first=True, norm_first=first)
        for first in (False, True)
    ]
    return nn.Sequential(_Positions(), *blocks, _Mean(), nn.Linear(16, NUM_CLASSES))


class _Residual(nn.Module):
    """x plus what a normalised, dropped-out layer makes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Dropout(0.2), nn.Linear(32, 16)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, 16] to [B, 16]."""
        outputs: torch.Tensor = x + self.inner(x)
        return outputs


def residual_mlp() -> nn.Sequential:
    """Blocks with skips around them."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), _Residual(), _Residual(), nn.LayerNorm(16),
        nn.Linear(16, NUM_CLASSES),
    )  # fmt: skip


class _Patches(nn.Module):
    """Patches of an image as a sequence, behind a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, 16, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.places = nn.Parameter(torch.randn(1, 5, 16) / 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, 1, 8, 8] to [B, 5, 16]."""
        patches = self.cut(x).flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.places


class _First(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The class token."""
        return x[:, 0]


def vit() -> nn.Sequential:
    """A vision transformer."""
    block = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True, activation="gelu")
    return nn.Sequential(
        _Patches(), block, nn.LayerNorm(16), _First(), nn.Dropout(0.1), nn.Linear(16, NUM_CLASSES)
    )
