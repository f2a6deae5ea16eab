"""Cross-entropy of logits and integer class labels, one label a sample."""

from __future__ import annotations

import torch
from torch.nn import functional

from dni_async.errors import ConfigError
from dni_async.stage.losses.score import Score

__all__ = ["CrossEntropy", "OneHot"]

_MEAN = 1  # torch's number for reduction="mean"
_IGNORE_INDEX = -100  # torch's default: a label that never occurs


class OneHot:
    """Labels [N] int64 as the rows of a unit matrix, whose products are look-ups."""

    def __init__(self, num_classes: int) -> None:
        self.width = num_classes

    def codes(self, targets: torch.Tensor) -> torch.Tensor:
        """[N, C], a one at each label."""
        return functional.one_hot(targets, self.width).float()

    def select(self, table: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The row of table [C, D] for each label: [N, D]."""
        return table.index_select(0, targets)

    def collect(self, targets: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The sum of rows [N, D] for each class: [C, D]."""
        return rows.new_zeros(self.width, rows.shape[1]).index_add_(0, targets, rows)


class CrossEntropy:
    """Of logits [B, C] with labels [B], or [B, T, C] with [B, T]; the mean is over all labels.

    Logits beyond num_classes are classes that never occur.
    """

    target_dtype = torch.int64

    def __init__(self, num_classes: int) -> None:
        self.readout_size = num_classes
        self.encoding = OneHot(num_classes)

    def sample_dims(self, targets: torch.Tensor) -> int:
        """All of them: each label is a sample's."""
        return targets.ndim

    def check_outputs(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Raises ConfigError unless there are logits for every label and class."""
        if outputs.shape[:-1] != targets.shape or outputs.shape[-1] < self.readout_size:
            leading = ", ".join(map(str, targets.shape))
            raise ConfigError(
                f"model: the output is {list(outputs.shape)}, needs "
                f"[{leading}, at least {self.readout_size}]"
            )

    @torch.no_grad()
    def gradient(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, torch.Tensor]:
        """As autograd's, bit for bit; computed in float32."""
        aten = torch.ops.aten
        labels = targets.flatten()
        log_p = torch.log_softmax(outputs.flatten(0, -2).float(), 1)
        loss, weight = aten.nll_loss_forward(log_p, labels, None, _MEAN, _IGNORE_INDEX)
        gradient = aten.nll_loss_backward(
            torch.ones_like(loss), log_p, labels, None, _MEAN, _IGNORE_INDEX, weight
        )
        gradient = aten._log_softmax_backward_data(gradient, log_p, 1, log_p.dtype)
        return loss.item(), gradient.view(outputs.shape).to(outputs.dtype)

    def sample_gradients(
        self, outputs: torch.Tensor, targets: torch.Tensor, *, dim: int
    ) -> torch.Tensor:
        """softmax - one-hot."""
        return torch.softmax(outputs, dim).scatter_(dim, targets.unsqueeze(dim), -1.0, reduce="add")

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> Score:
        """Loss in nats, and how many labels have the largest logit (accuracy)."""
        logits, labels = outputs.flatten(0, -2).float(), targets.flatten()
        loss_sum = functional.cross_entropy(logits, labels, reduction="sum").item()
        num_correct = int((logits.argmax(1) == labels).sum())
        return Score(len(labels), {"loss": loss_sum, "accuracy": num_correct})
