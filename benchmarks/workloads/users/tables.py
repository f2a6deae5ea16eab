"""Rows of numbers from scikit-learn: one number to foretell, and several labels at once."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from benchmarks.workloads.users.batches import Samples, work_on
from benchmarks.workloads.users.figures import label_accuracy, rmse
from benchmarks.workloads.users.row import Asked, Bound, Row, Scale, Work

__all__ = ["ROWS", "mlp"]

NUM_DIABETES_TRAIN = 300  # of 442
LABELS = 5


def mlp(fan_in: int, width: int, fan_out: int, depth: int = 4) -> nn.Sequential:
    """depth linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for index in range(depth):
        is_last = index == depth - 1
        layers.append(nn.Linear(width if index else fan_in, fan_out if is_last else width))
        layers += [] if is_last else [nn.ReLU()]
    return nn.Sequential(*layers)


@cache
def _diabetes() -> tuple[Samples, Samples]:
    """Ten measurements of a patient, and how the disease went on: [N, 10] and [N, 1]."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = (torch.tensor(part, dtype=torch.float32)[order] for part in (x, y[:, None]))
    train, test = torch.arange(len(x)) < NUM_DIABETES_TRAIN, torch.arange(len(x)) >= 342
    x, y = ((part - part[train].mean(0)) / part[train].std(0) for part in (x, y))
    return (x[train], y[train]), (x[test], y[test])


@cache
def _labelled() -> tuple[Samples, Samples]:
    """Counts of 20 words, and which of five labels a text has: [N, 20] and [N, LABELS], 0 or 1."""
    from sklearn.datasets import make_multilabel_classification

    x, y = make_multilabel_classification(
        n_samples=2000, n_features=20, n_classes=LABELS, random_state=0
    )
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    x = (x - x[:1500].mean(0)) / x[:1500].std(0)
    return (x[:1500], y[:1500]), (x[1500:], y[1500:])


def _regression(scale: Scale) -> Work:
    return work_on(
        *(*_diabetes(), lambda: mlp(10, 32, 1), scale),
        batch_size=20,
        loss=nn.HuberLoss(),
        figure=rmse,
        epochs=scale.of(35, 2),
        lr=1e-3,
    )


def _several(scale: Scale) -> Work:
    return work_on(
        *(*_labelled(), lambda: mlp(20, 64, LABELS), scale),
        batch_size=50,
        loss=nn.BCEWithLogitsLoss(),
        figure=label_accuracy,
        epochs=scale.of(10, 2),
        lr=1e-3,
    )


SHARE = Bound(0.02, is_share=True)
LEAST = Bound(0.02, is_share=True, lower_is_better=True)
ROWS = (
    Row("diabetes, Huber", _regression, Asked("RMSE", LEAST)),
    Row("several labels, BCE", _several, Asked("label accuracy", SHARE, in_lockstep=True)),
)
