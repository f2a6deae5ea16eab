"""A transformer that learns to write characters, its four blocks in four workers.

Run it in this folder; options of dni-launch may follow::

    python transformer.py --epochs 3

The text is Python's own reference, which every Python ships: what ``help()`` shows of the language.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from pydoc_data import topics

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

SYMBOLS = "\n" + "".join(map(chr, range(32, 127)))
CONTEXT = 64
WIDTH = 64
HEADS = 4
BLOCKS = 4
PIECE = 2048  # characters: every tenth piece is for tests, another tenth to choose settings by
PARTS = ("train",) * 4 + ("tuning",) + ("train",) * 4 + ("test",)


class Embedding(nn.Module):
    """What each character is, and where it stands: ids [B, T] to [B, T, WIDTH]."""

    def __init__(self) -> None:
        super().__init__()
        self.symbol = nn.Embedding(len(SYMBOLS), WIDTH)
        self.position = nn.Embedding(CONTEXT, WIDTH)
        for table in (self.symbol, self.position):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Positions are counted from the first character of the sample."""
        hidden: torch.Tensor = self.symbol(ids) + self.position.weight[: ids.shape[1]]
        return hidden


class Block(nn.Module):
    """Causal self-attention, then two linear layers, each after a LayerNorm: [B, T, WIDTH]."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.queries_keys_values = nn.Linear(WIDTH, 3 * WIDTH)
        self.attended = nn.Linear(WIDTH, WIDTH)
        self.dense = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Each position sees itself and those before it."""
        mixed = self.queries_keys_values(self.attention_norm(hidden))
        by_head = mixed.unflatten(-1, (3, HEADS, WIDTH // HEADS)).transpose(1, 3)
        queries, keys, values = by_head.unbind(2)
        seen = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        hidden = hidden + self.attended(seen.transpose(1, 2).flatten(2))
        dense: torch.Tensor = self.dense(hidden)
        return hidden + dense


def model() -> nn.Sequential:
    """The network: ids [B, T] to logits [B, T, symbols]. Embedding and head share no weights."""
    return nn.Sequential(
        Embedding(),
        *[Block() for _ in range(BLOCKS)],
        nn.LayerNorm(WIDTH),
        nn.Linear(WIDTH, len(SYMBOLS)),
    )


def text_of(part: str) -> str:
    """The pieces for "train", "tuning" or "test", one after another; what is not ASCII as "?"."""
    named = sorted(topics.topics.items())
    text = "".join(s if s in SYMBOLS else "?" for s in "\n".join(text for _, text in named))
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    return "".join(piece for index, piece in enumerate(pieces) if PARTS[index % len(PARTS)] == part)


def samples_of(text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids [N, CONTEXT] of pieces of the text, and at each position the id of what follows."""
    ids = np.array([SYMBOLS.index(symbol) for symbol in text])
    end = (len(ids) - 1) // CONTEXT * CONTEXT
    return ids[:end].reshape(-1, CONTEXT), ids[1 : end + 1].reshape(-1, CONTEXT)


def write_data(path: Path, *, held_out: str = "test", max_samples: int | None = None) -> None:
    """Write the samples where dni-launch reads them; at most so many of each kind."""
    x_train, y_train = samples_of(text_of("train"))
    x_test, y_test = samples_of(text_of(held_out))
    np.savez(
        path,
        x_train=x_train[:max_samples],
        y_train=y_train[:max_samples],
        x_test=x_test[:max_samples],
        y_test=y_test[:max_samples],
    )


def main() -> None:
    """Train in four workers, then by backpropagation, and show both losses."""
    write_data(Path("chars.npz"))
    settings = ["--model=transformer:model", "--data=chars.npz", "--stages=4", "--batch-size=32"]
    copies = ["--synthesizer=copy", "--synthesizer-layers=1"]
    command = [sys.executable, "-m", "dni_async.launcher.cli", *settings, *copies, *sys.argv[1:]]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
