"""A row of the users' table: what is trained, what is asked of it, and what came of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import nn

from dni_async import TrainingResult

__all__ = ["Asked", "Batch", "Bound", "Measured", "Row", "Scale", "Work", "behind", "verdict"]

Batch = tuple[torch.Tensor, torch.Tensor]  # inputs and targets


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of a row is run. is_full: all of it, be it hours."""

    seed: int = 0
    is_quick: bool = False
    is_full: bool = False

    def of(self, usual: int, quick: int) -> int:
        """A size that is smaller where only whether it runs is asked."""
        return quick if self.is_quick else usual


@dataclass(frozen=True, slots=True)
class Bound:
    """How much worse than plain torch a figure may be: a difference, or a share of torch's own."""

    most: float
    is_share: bool = False
    lower_is_better: bool = False

    def behind(self, ours: float, plain: float) -> float:
        """How much worse ours is, in the bound's own unit; negative where it is better."""
        worse = ours - plain if self.lower_is_better else plain - ours
        return worse / abs(plain) if self.is_share and plain else worse

    @property
    def said(self) -> str:
        """As the table shows it."""
        return f"{100 * self.most:g} %" if self.is_share else f"{100 * self.most:g} points"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a row trains with one seed. Everything is made anew for each arm.

    network: a module, the same weights at each call. data: what ``dni_async.train`` takes. batches:
    those of an epoch, counted from 1, for plain torch: the same ones. test: all test batches.
    loss: mean over what it is given, of outputs and targets. descent: adam, or sgd with momentum.
    sinks_over: so many updates in which the rate falls to zero in a line; None: it stays.
    settings: more for ``dni_async.train``. limit_bytes: of the own memory of each process of the
    run. after: complaints about what came of it; its folder still is there.
    """

    network: Callable[[], nn.Module]
    data: Callable[[], Any]
    batches: Callable[[int], Iterable[Batch]]
    test: Callable[[], Iterable[Batch]]
    loss: Callable[[Any, torch.Tensor], torch.Tensor]
    figure: Callable[[Any, torch.Tensor], float]
    epochs: int
    lr: float
    descent: str = "adam"
    sinks_over: int | None = None
    limit_bytes: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    after: Callable[[TrainingResult], Sequence[str]] = lambda result: ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a row is held to. figure: its name. may_refuse: a sentence before the start will do.

    in_lockstep: whether by ``--rule backprop`` it must equal the baseline to the last bit.
    """

    figure: str
    bound: Bound | None = None
    may_refuse: bool = False
    in_lockstep: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. needs: modules without which it is skipped."""

    name: str
    work: Callable[[Scale], Work]
    asked: Asked
    needs: tuple[str, ...] = ()

    @property
    def lacking(self) -> str:
        """Why the row cannot run here; empty where it can."""
        missing = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"needs {', '.join(missing)}" if missing else ""


@dataclass(slots=True)
class Measured:
    """Both arms with one seed. Figures and losses are of the test samples.

    refused: the sentence in place of training. complaints: what was asked besides and is not so.
    is_exact: whether lockstep equals the baseline to the last bit; None where that was not tried.
    """

    seed: int
    plain: float
    plain_loss: float
    plain_seconds: float
    ours: float | None = None
    ours_loss: float | None = None
    ours_seconds: float | None = None
    refused: str = ""
    is_exact: bool | None = None
    complaints: list[str] = field(default_factory=list)


def verdict(asked: Asked, seeds: Sequence[Measured]) -> str:
    """met, or MISSED with the first reason; refused where that is as good."""
    complaints = [text for each in seeds for text in each.complaints]
    if complaints:
        return f"MISSED: {complaints[0]}"
    refused = [each.refused for each in seeds if each.refused]
    if refused:
        return "met (refused)" if asked.may_refuse else f"MISSED: refused: {refused[0]}"
    if asked.bound is None:
        return "met (runs)"
    return "met" if behind(asked.bound, seeds) <= asked.bound.most else "MISSED"


def behind(bound: Bound, seeds: Sequence[Measured]) -> float:
    """How much worse the mean of ours is than the mean of plain torch's."""
    ours = fmean(each.ours for each in seeds if each.ours is not None)
    return bound.behind(ours, fmean(each.plain for each in seeds))
