"""What a network is judged by: figures of outputs and targets, over all test samples."""

from __future__ import annotations

import torch

__all__ = ["IGNORED", "accuracy", "label_accuracy", "mean_iou", "rmse", "token_accuracy"]

IGNORED = -100  # the target of a place that does not count, as torch has it


def accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """The share of right classes: logits [N, C] or [N, T, C], class numbers [N] or [N, T]."""
    return float((outputs.argmax(-1) == targets).float().mean())


def token_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """The same of the places that count: [N, T, C] and [N, T]."""
    counted = targets != IGNORED
    return float((outputs.argmax(-1) == targets)[counted].float().mean())


def mean_iou(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Intersection over union, the mean of the classes: [N, C, H, W] and [N, H, W]."""
    chosen = outputs.argmax(1)
    shares = []
    for kind in range(outputs.shape[1]):
        ours, wanted = chosen == kind, targets == kind
        shares.append(float((ours & wanted).sum() / (ours | wanted).sum().clamp(min=1)))
    return sum(shares) / len(shares)


def rmse(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """The root of the mean squared error."""
    return float((outputs - targets).square().mean().sqrt())


def label_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """The share of right labels where each sample has several: logits and 0 or 1, [N, L] both."""
    return float(((outputs > 0) == (targets > 0.5)).float().mean())
