"""What true gradients make of a critic's gradient: a linear correction, used where it helps.

A critic gives own = e J, J the slope of its outputs and e = dL/do. Of a batch whose true gradient g
has come back the residual is g - own, and e B is what of it can be told from e: B, [K, D], is the
ridge regression of residuals on e, over all batches whose gradient came back, the last one counting
most. With S = sum e'e and T = sum e'(g - own), each old sum times DECAY, B = (S + r I)^-1 T, and
r is RIDGE times the mean of S's diagonal. One lesson is worth many steps of descent, of which
there would be few: only anchors teach it.

Whether e B helps is judged on batches that B has not learnt from yet: the cosines with g of own + e
B and of own, as moving averages. Where own alone points nearer to the truth, e B is left out.
"""

from __future__ import annotations

import torch

__all__ = ["Correction"]

DECAY = 0.9
RIDGE = 0.1
MEMORY = 0.8  # of the cosines: half of what is judged by is of the last three lessons
TINY = 1e-30  # where every e was zero


class Correction:
    """num_outputs: K; num_units: D. Until a second lesson, which judges the first, it is zero."""

    def __init__(
        self, num_outputs: int, num_units: int, *, device: torch.device | None = None
    ) -> None:
        self.matrix = torch.zeros(num_outputs, num_units, device=device)
        self._products = torch.zeros(num_outputs, num_outputs, device=device)
        self._wanted = torch.zeros(num_outputs, num_units, device=device)
        # Cosines with and without it, and 1 where it is used: read on the device, without a wait.
        self._standing = torch.zeros(3, device=device)
        self._is_used = self._standing[2]  # shares its memory

    @property
    def parameters(self) -> list[torch.Tensor]:
        """B [K, D], S [K, K], T [K, D], and how B stands [3]."""
        return [self.matrix, self._products, self._wanted, self._standing]

    @property
    def is_used(self) -> torch.Tensor:
        """1 where e B is added, else 0; newly made, as nobody waits for a device."""
        return self._is_used.clone()

    def add_to(self, slope: torch.Tensor) -> torch.Tensor:
        """slope [K, D] + B where B is used, newly made."""
        return torch.addcmul(slope, self.matrix, self._is_used)

    def of(self, error: torch.Tensor) -> torch.Tensor:
        """e B [N, D] of error [K, N] where B is used, else zeros."""
        return (error.t() @ self.matrix).mul_(self._is_used)

    def learn(self, error: torch.Tensor, own: torch.Tensor, returned: torch.Tensor) -> torch.Tensor:
        """One lesson from returned [N, D] in per-sample units; error [K, N], own [N, D].

        Gives the synthetic gradient [N, D] as it was before this lesson.
        """
        added = error.t() @ self.matrix
        synthetic = torch.addcmul(own, added, self._is_used)
        self._judge(own + added, own, returned)
        scale = (1 - DECAY) / len(own)
        self._products.mul_(DECAY).addmm_(error, error.t(), alpha=scale)
        self._wanted.mul_(DECAY).addmm_(error, returned - own, alpha=scale)
        ridge = RIDGE * self._products.diagonal().mean() + TINY
        regular = self._products + ridge * torch.eye(len(error), device=error.device)
        factor, _ = torch.linalg.cholesky_ex(regular)
        self.matrix.copy_(torch.cholesky_solve(self._wanted, factor))
        return synthetic

    def _judge(self, corrected: torch.Tensor, own: torch.Tensor, returned: torch.Tensor) -> None:
        """Compare both with the truth; a returned gradient of zero tells nothing."""
        cosines = torch.stack([_cosine(each, returned) for each in (corrected, own)])
        told = torch.where(cosines.isfinite().all(), cosines, self._standing[:2])
        self._standing[:2].lerp_(told, 1 - MEMORY)
        self._standing[2] = self._standing[0] > self._standing[1]


def _cosine(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Of the angle between them, each as one vector; NaN where one is zero."""
    a, b = one.reshape(-1), other.reshape(-1)
    cosine: torch.Tensor = a.dot(b) / (a.norm() * b.norm())
    return cosine
