"""A small model of sequences, and its data, as files of the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["write_sequences"]

SEQUENCES = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x):
        q, k, v = (part[:, None] for part in self.qkv(self.norm(x)).chunk(3, -1))
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(seen[:, 0])

def make():
    return nn.Sequential(nn.Embedding(7, 16), Block(), Block(), nn.Linear(16, 7))
"""


def write_sequences(folder: Path) -> tuple[str, ...]:
    """A small model of sequences and its data in folder, and what names both."""
    folder.mkdir()
    (folder / "sequences.py").write_text(SEQUENCES)
    ids = np.arange(150)[:, None] * 3 + np.arange(9) ** 2
    x, y = ids[:, :-1] % 7, ids[:, 1:] % 7
    np.savez(folder / "ids.npz", x_train=x[:100], y_train=y[:100], x_test=x[100:], y_test=y[100:])
    return "--model=sequences:make", "--data=ids.npz", "--batch-size=16", "--no-baseline"
