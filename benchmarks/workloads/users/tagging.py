"""Tags that depend on what was read before, of padded sentences, for an LSTM."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from benchmarks.workloads.users.batches import Samples, work_on
from benchmarks.workloads.users.figures import IGNORED, token_accuracy
from benchmarks.workloads.users.row import Asked, Bound, Row, Scale, Work

__all__ = ["ROWS", "Outputs", "each_token"]

WORDS, SWITCHES, TAGS = 30, 3, 4
SHORTEST, LONGEST = 5, 20
WIDTH = 32


class Outputs(nn.Module):
    """The outputs of a recurrent layer, without its last state."""

    def forward(self, given: tuple[torch.Tensor, object]) -> torch.Tensor:
        """(outputs, state) to outputs."""
        return given[0]


def tagger() -> nn.Sequential:
    """Words [B, T] to logits of their tags [B, T, TAGS]."""
    return nn.Sequential(
        nn.Embedding(WORDS, WIDTH, padding_idx=0),
        nn.LSTM(WIDTH, WIDTH, batch_first=True),
        Outputs(),
        nn.LSTM(WIDTH, WIDTH, batch_first=True),
        Outputs(),
        nn.Linear(WIDTH, TAGS),
    )


def each_token(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The mean over the tokens that count: [B, T, C] and [B, T]."""
    return nn.functional.cross_entropy(
        outputs.flatten(0, 1), targets.flatten(), ignore_index=IGNORED
    )


@cache
def _sentences(count: int, seed: int) -> Samples:
    """Words from 1, behind the end 0; the tag is the word plus the last switch, modulo TAGS."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(1, WORDS, (count, LONGEST), generator=generator)
    lengths = torch.randint(SHORTEST, LONGEST + 1, (count, 1), generator=generator)
    words[torch.arange(LONGEST) >= lengths] = 0
    is_switch = (words > 0) & (words <= SWITCHES)
    place = torch.where(is_switch, torch.arange(LONGEST), -1).cummax(1).values
    last = torch.where(place >= 0, words.gather(1, place.clamp(min=0)), 0)
    return words, torch.where(words > 0, (words + last) % TAGS, IGNORED)


def _work(scale: Scale) -> Work:
    return work_on(
        *(_sentences(scale.of(2000, 200), 0), _sentences(scale.of(500, 100), 1), tagger, scale),
        batch_size=32,
        loss=each_token,
        figure=token_accuracy,
        epochs=scale.of(12, 1),
        lr=1e-2,
    )


ROWS = (Row("LSTM tagger, padded", _work, Asked("token accuracy", Bound(0.01), in_lockstep=True)),)
