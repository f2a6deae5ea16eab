"""How synthesizers see targets: as rows of numbers."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from dni_async.stage.losses.interface import Encoding

__all__ = ["MAX_WIDTH", "Numbers", "OneHot", "Shares", "encoding_of_numbers"]

MAX_WIDTH = 4096
"""Targets of more numbers are not shown to synthesizers: their part would be the dearest."""


class OneHot:
    """Labels [N] int64 as the rows of a unit matrix, whose products are look-ups.

    ignored: a label whose row is zero; None where there is none.
    """

    def __init__(self, num_classes: int, ignored: int | None = None) -> None:
        self.width = num_classes
        self._ignored = ignored

    def codes(self, targets: torch.Tensor) -> torch.Tensor:
        """[N, C], a one at each label."""
        if self._ignored is None:
            return functional.one_hot(targets, self.width).float()
        labels, counts = _counted(targets, self._ignored)
        return functional.one_hot(labels, self.width).float().mul_(counts.unsqueeze(1))

    def select(self, table: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The row of table [C, D] for each label: [N, D]."""
        if self._ignored is None:
            return table.index_select(0, targets)
        labels, counts = _counted(targets, self._ignored)
        return table.index_select(0, labels) * counts.unsqueeze(1)

    def collect(self, targets: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The sum of rows [N, D] for each class: [C, D]."""
        if self._ignored is not None:
            targets, counts = _counted(targets, self._ignored)
            rows = rows * counts.unsqueeze(1)
        return rows.new_zeros(self.width, rows.shape[1]).index_add_(0, targets, rows)


class Shares:
    """Labels [N, ...] int64, several a sample, as the share of each class among its labels."""

    def __init__(self, num_classes: int, ignored: int | None = None) -> None:
        self.width = num_classes
        self._ignored = ignored

    def codes(self, targets: torch.Tensor) -> torch.Tensor:
        """[N, C]; of a sample whose labels all count, each row's sum is 1."""
        labels, counts = targets, targets.new_ones((), dtype=torch.bool).expand_as(targets)
        if self._ignored is not None:
            labels, counts = _counted(targets, self._ignored)
        flat = labels.flatten(1)
        codes = torch.zeros(len(flat), self.width, device=flat.device)
        return codes.scatter_add_(1, flat, counts.flatten(1).float()).div_(flat.shape[1])

    def select(self, table: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The product with table [C, D]: [N, D]."""
        return self.codes(targets) @ table

    def collect(self, targets: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The product of the transposed codes with rows [N, D]: [C, D]."""
        return self.codes(targets).t() @ rows


class Numbers:
    """Targets [N, ...] of width numbers each, as they are."""

    def __init__(self, width: int) -> None:
        self.width = width

    def codes(self, targets: torch.Tensor) -> torch.Tensor:
        """[N, W]."""
        return targets.reshape(len(targets), -1).float()

    def select(self, table: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The product with table [W, D]: [N, D]."""
        return self.codes(targets) @ table

    def collect(self, targets: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The product of the transposed codes with rows [N, D]: [W, D]."""
        return self.codes(targets).t() @ rows


def encoding_of_numbers(shape: tuple[int, ...]) -> Encoding | None:
    """Of targets [N, *shape]; None where they are too many."""
    width = math.prod(shape)
    return Numbers(width) if width <= MAX_WIDTH else None


def _counted(targets: torch.Tensor, ignored: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels with 0 in the place of those that are ignored, and which count."""
    counts = targets != ignored
    return targets.where(counts, 0), counts
