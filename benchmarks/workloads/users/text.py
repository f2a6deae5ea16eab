"""Python's own reference, letter by letter, for a GPT-2 of random weights."""

from __future__ import annotations

import importlib
from functools import cache
from pydoc_data import topics
from typing import Any

import torch
from torch import nn

from benchmarks.workloads.users.batches import Samples, work_on
from benchmarks.workloads.users.figures import accuracy
from benchmarks.workloads.users.images import Logits
from benchmarks.workloads.users.row import Asked, Row, Scale, Work

__all__ = ["ROWS"]

CONTEXT, SYMBOLS, BATCH = 64, 128, 32


@cache
def _letters(num_train: int, num_test: int) -> tuple[Samples, Samples]:
    """Ids [N, CONTEXT], and at each place the id of the letter that follows."""
    text = "\n".join(text for _, text in sorted(topics.topics.items()))
    held = torch.tensor(list(text.encode("ascii", "replace")))
    end = (num_train + num_test) * CONTEXT
    x, y = (part.reshape(-1, CONTEXT) for part in (held[:end], held[1 : end + 1]))
    return (x[:num_train], y[:num_train]), (x[num_train:], y[num_train:])


def _work(scale: Scale) -> Work:
    train, test = _letters(scale.of(1000, 160), scale.of(200, 40))
    return work_on(
        *(train, test, _gpt, scale),
        batch_size=BATCH,
        loss=each_letter,
        figure=accuracy,
        epochs=scale.of(3, 1),
        lr=2e-3,
        settings={"split": [f"network.transformer.h.{block}" for block in (1, 2, 3)]},
    )


def each_letter(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The mean over all letters: [B, T, SYMBOLS] and [B, T]."""
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def _gpt() -> nn.Module:
    transformers: Any = importlib.import_module("transformers")
    config = transformers.GPT2Config(
        vocab_size=SYMBOLS,
        n_positions=CONTEXT,
        n_embd=48,
        n_layer=4,
        n_head=4,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
        tie_word_embeddings=False,  # the embedding is of the first stage, the head of the last
    )
    return Logits(transformers.GPT2LMHeadModel(config))


ASKED = Asked("accuracy", in_lockstep=True)
ROWS = (Row("GPT-2-tiny, by blocks", _work, ASKED, needs=("transformers",)),)
