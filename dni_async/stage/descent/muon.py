"""Muon: matrices move by their momentum made orthogonal; all else by AdamW.

Jordan et al. 2024 (kellerjordan.github.io/posts/muon), with the size of a step as AdamW has it (Liu
et al. 2025, 2502.16982, section 2.2), so that both take one rate. As ``torch.optim.Muon`` with
``adjust_lr_fn="match_rms_adamw"``, which works in bfloat16 and takes two dimensions alone; here it
is in the parameter's own numbers, and a filter of a convolution is a row.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

import torch
from torch import nn

from dni_async.errors import ConfigError
from dni_async.stage.descent.optimizers import Adam, Memory

__all__ = ["MOMENTUM", "Muon", "matrices_of", "orthogonal", "tables_of"]

MOMENTUM: Final = 0.95
STEPS: Final = 5
COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
SHARE: Final = 0.2  # the root mean square of a step of Adam's is 0.2 to 0.4 times its rate
EPS: Final = 1e-7

Named = Sequence[tuple[str, torch.Tensor]]


class Muon:
    """are_matrices: which of parameters are made orthogonal; all others are AdamW's.

    With momentum mu and rate r, of a matrix W [m, n] with gradient g: V = mu V + (1 - mu) g;
    W = (1 - r decay) W - 0.2 r sqrt(max(m, n)) O((1 - mu) g + mu V), O as in orthogonal.
    """

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        are_matrices: Sequence[bool],
        *,
        lr: float,
        momentum: float = MOMENTUM,
        weight_decay: float = 0.0,
    ) -> None:
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self._are_matrices = tuple(are_matrices)
        pairs = list(zip(parameters, are_matrices, strict=True))
        self.matrices = [parameter for parameter, is_matrix in pairs if is_matrix]
        self.momenta = [torch.zeros_like(parameter) for parameter in self.matrices]
        self.others = Adam(
            [parameter for parameter, is_matrix in pairs if not is_matrix],
            lr=lr,
            weight_decay=weight_decay,
            decoupled=True,
        )

    @torch.no_grad()
    def update(self) -> None:
        """One update of every parameter that has a gradient. Raises ConfigError for sparse ones."""
        for matrix, momentum in zip(self.matrices, self.momenta, strict=True):
            gradient = matrix.grad
            if gradient is None:
                continue
            if gradient.is_sparse:
                raise ConfigError(
                    "optimizer: Muon does not support sparse gradients; take sgd, or make the "
                    "embedding with sparse=False"
                )
            matrix.grad = None
            momentum.lerp_(gradient, 1 - self.momentum)
            rows = gradient.lerp(momentum, self.momentum).flatten(1)
            size = SHARE * math.sqrt(max(rows.shape))
            matrix.mul_(1 - self.lr * self.weight_decay)
            matrix.add_(orthogonal(rows).view_as(matrix), alpha=-self.lr * size)
        self.others.lr = self.lr
        self.others.update()

    def tensors(self) -> list[dict[str, torch.Tensor]]:
        """The momentum of each matrix, and what Adam remembers of each other parameter."""
        momenta, others = iter(self.momenta), iter(self.others.tensors())
        return [
            {"momentum": next(momenta)} if is_matrix else next(others)
            for is_matrix in self._are_matrices
        ]

    def memory(self) -> Memory:
        """Nothing else."""
        return Memory()

    def remember(self, memory: Memory) -> None:
        """Nothing to do."""


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """U V' of a matrix [m, n] = U S V', nearly: its singular values become 0.7 to 1.2.

    Five steps of X = a X + (b X X' + c X X' X X') X from X = matrix / |matrix|, by rows of the
    longer side: 5 (2 m m n + m m m) multiplications with m <= n.
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.t() if is_tall else matrix
    x = x / x.norm().clamp(min=EPS)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        square = x @ x.t()
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.t() if is_tall else x


def matrices_of(named: Named, whole: Named, tables: Collection[int]) -> list[bool]:
    """Which of named parameters Muon takes: those of two or more dimensions.

    But for tables, by id, of which a batch uses a few rows; and for the network's last one, which
    reads the outputs off (the source leaves both to Adam). whole: the network's parameters, in
    order.
    """
    readout = next((name for name, p in reversed(whole) if p.ndim >= 2), None)
    return [p.ndim >= 2 and name != readout and id(p) not in tables for name, p in named]


def tables_of(module: nn.Module) -> set[int]:
    """The ids of the weights of embeddings."""
    kinds = (nn.Embedding, nn.EmbeddingBag)
    return {id(each.weight) for each in module.modules() if isinstance(each, kinds)}
