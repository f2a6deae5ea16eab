"""Labels and data sets in the forms that people have them in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from benchmarks.workloads.users.batches import Samples, work_on
from benchmarks.workloads.users.figures import IGNORED, token_accuracy
from benchmarks.workloads.users.odd_networks import BATCH, LIKE_TORCH, blobs, plain_line
from benchmarks.workloads.users.row import Asked, Row, Scale, Work

__all__ = ["ROWS"]

KINDS = 3


class Pairs(Dataset[tuple[torch.Tensor, int]]):
    """A data set that somebody wrote."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples[0])

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.samples[0][index], int(self.samples[1][index])


def _column(samples: Samples) -> Any:
    return samples[0], samples[1][:, None]


def _one_hot(samples: Samples) -> Any:
    return samples[0], nn.functional.one_hot(samples[1], KINDS)


def _float64(samples: Samples) -> Any:
    return samples[0].double().numpy(), samples[1].numpy()


def _subset(samples: Samples) -> Any:
    return Subset(TensorDataset(*samples), range(len(samples[0])))


def _loader(samples: Samples) -> Any:
    return DataLoader(TensorDataset(*samples), batch_size=BATCH, shuffle=True)


def _with_padding(samples: Samples) -> Samples:
    """Every fifth sample does not count."""
    is_padding = torch.arange(len(samples[1])) % 5 == 0
    return samples[0], samples[1].masked_fill(is_padding, IGNORED)


def _as_it_is(samples: Samples) -> Any:
    return samples


def _work(form: Callable[[Samples], Any], scale: Scale) -> Work:
    train, test = blobs()
    if form is _with_padding:
        train, test, form = _with_padding(train), _with_padding(test), _as_it_is
    return work_on(
        *(train, test, plain_line, scale),
        batch_size=BATCH,
        data=lambda: (form(train), form(test)),
        loss=nn.CrossEntropyLoss(),
        figure=token_accuracy,
        epochs=scale.of(6, 1),
        lr=5e-3,
    )


FORMS = {
    "labels [N, 1]": _column,
    "labels one-hot": _one_hot,
    "labels of padding": _with_padding,
    "data as a Subset": _subset,
    "data as a Dataset": Pairs,
    "data as a DataLoader": _loader,
    "data as float64": _float64,
}
ROWS = tuple(
    Row(name, partial(_work, form), Asked("accuracy", LIKE_TORCH)) for name, form in FORMS.items()
)
