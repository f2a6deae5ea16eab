"""Optimizers and schedules as users write them, to be named ``tests.own_optimizers:NAME``."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import torch

__all__ = [
    "by_module",
    "halves",
    "heads_only",
    "keeps_count_in_group",
    "muon_beside_adamw",
    "nadam",
    "nesterov",
    "rmsprop",
    "slower_below",
    "waves",
]

Named = Iterable[tuple[str, torch.nn.Parameter]]

nesterov = functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9, nesterov=True)
nadam = functools.partial(torch.optim.NAdam, betas=(0.8, 0.99))
rmsprop = functools.partial(torch.optim.RMSprop, momentum=0.5, centered=True)


def muon_beside_adamw(named: Named) -> list[torch.optim.Optimizer]:
    """Matrices by the one; what is left, in two groups, by the other."""
    named = list(named)
    matrices = [p for _, p in named if p.ndim == 2]
    head = [p for name, p in named if p.ndim != 2 and name.startswith("3.")]
    others = [p for name, p in named if p.ndim != 2 and not name.startswith("3.")]
    groups = [{"params": head, "lr": 0.005}, {"params": others, "weight_decay": 0.1}]
    return [torch.optim.Muon(matrices, lr=0.01), torch.optim.AdamW(groups, lr=0.002)]


def slower_below(named: Named) -> torch.optim.Optimizer:
    """The rate of a layer by how many are above it."""
    named = list(named)
    last = max(int(name.partition(".")[0]) for name, _ in named)
    groups: list[dict[str, Any]] = [
        {"params": [p], "lr": 0.003 * 0.5 ** (last - int(name.partition(".")[0]))}
        for name, p in named
    ]
    return torch.optim.Adam(groups)


def by_module(named: Named) -> torch.optim.Optimizer:
    """A rate for each module of the network, by its name."""
    groups: dict[str, list[torch.nn.Parameter]] = {}
    for name, parameter in named:
        groups.setdefault(name.partition(".")[0], []).append(parameter)
    rated = [{"params": each, "lr": 0.001 * (n + 1)} for n, each in enumerate(groups.values())]
    return torch.optim.NAdam(rated)


def heads_only(named: Named) -> torch.optim.Optimizer:
    """Leaves all but the last layer out."""
    named = list(named)
    last = named[-1][0].partition(".")[0]
    return torch.optim.Adagrad([p for name, p in named if name.partition(".")[0] == last])


class _Counting(torch.optim.Optimizer):
    """Whose rate falls by a count that it keeps in its groups, as some from elsewhere do."""

    def __init__(self, params: Any, lr: float = 0.05) -> None:
        super().__init__(params, {"lr": lr, "count": 0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One update."""
        for group in self.param_groups:
            group["count"] += 1
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.state[parameter]["updates"] = group["count"]
                    parameter.sub_(parameter.grad, alpha=group["lr"] / group["count"] ** 0.5)


keeps_count_in_group = _Counting


def halves(update: int, num_updates: int) -> float:
    """Halved in the middle."""
    return 1.0 if 2 * update < num_updates else 0.5


def waves(update: int, num_updates: int) -> float:
    """Up and down."""
    return 0.6 + 0.4 * math.sin(12 * update / num_updates)
