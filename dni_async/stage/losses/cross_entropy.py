"""Cross-entropy of logits and integer class labels, one label a sample, by torch's own kernels."""

from __future__ import annotations

import torch
from torch.nn import functional

from dni_async.errors import ConfigError
from dni_async.stage.autograd import without_graph
from dni_async.stage.losses.encodings import OneHot
from dni_async.stage.losses.interface import Loss
from dni_async.stage.losses.score import Score

__all__ = ["CrossEntropy"]

# Found once: it takes as long as the kernels do.
_nll_loss = torch.ops.aten.nll_loss_forward.default
_through_nll_loss = torch.ops.aten.nll_loss_backward.default
_MEAN = 1  # torch's number for reduction="mean"
_IGNORE_INDEX = -100  # torch's default: where none is ignored, a label that never occurs


class CrossEntropy:
    """Of logits [B, C] with labels [B], or [B, T, C] with [B, T]; the mean is over all labels.

    Logits beyond num_classes are classes that never occur. ignored: a label that does not count;
    None where there is none.
    """

    target_dtype = torch.int64
    has_channels_first = False

    def __init__(self, num_classes: int, ignored: int | None = None) -> None:
        self.output_shape = (num_classes,)
        self.readout_size = num_classes
        self.encoding = OneHot(num_classes, ignored)
        self._ignored = ignored
        self._ignore_index = _IGNORE_INDEX if ignored is None else ignored

    @property
    def of_readout(self) -> Loss:
        """This loss."""
        return self

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

    def mean(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Over the labels that count, in float32; NaN where none does."""
        logits = outputs.flatten(0, -2).float()
        return functional.cross_entropy(logits, targets.flatten(), ignore_index=self._ignore_index)

    @without_graph
    def gradient(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, torch.Tensor]:
        """As autograd's, bit for bit; computed in float32."""
        labels, ignore_index = targets.flatten(), self._ignore_index
        log_p = torch.log_softmax(outputs.flatten(0, -2).float(), 1)
        loss, weight = _nll_loss(log_p, labels, None, _MEAN, ignore_index)
        if self._ignored is not None and not weight.item():
            return 0.0, torch.zeros_like(outputs)
        gradient = _through_nll_loss(
            torch.ones_like(loss), log_p, labels, None, _MEAN, ignore_index, weight
        )
        gradient = torch._log_softmax_backward_data(gradient, log_p, 1, log_p.dtype)
        return loss.item(), gradient.view(outputs.shape).to(outputs.dtype)

    def sample_gradients(
        self, outputs: torch.Tensor, targets: torch.Tensor, *, dim: int
    ) -> torch.Tensor:
        """softmax - one-hot; of labels that do not count 0, and of the others that much more."""
        shares = torch.softmax(outputs, dim)
        if self._ignored is None:
            return shares.scatter_(dim, targets.unsqueeze(dim), -1.0, reduce="add")
        counts = targets != self._ignored
        labels = targets.where(counts, 0).unsqueeze(dim)
        more = counts * (len(targets) / counts.sum().clamp(min=1))
        return shares.scatter_(dim, labels, -1.0, reduce="add").mul_(more.unsqueeze(dim))

    def weight(self, targets: torch.Tensor) -> float:
        """The labels that count; where all do, samples tell as much."""
        if self._ignored is None:
            return float(len(targets))
        return float((targets != self._ignored).sum())

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> Score:
        """Loss in nats."""
        logits, labels = outputs.flatten(0, -2).float(), targets.flatten()
        if self._ignored is not None:
            counts = labels != self._ignored
            logits, labels = logits[counts], labels[counts]
        loss_sum = functional.cross_entropy(logits, labels, reduction="sum").item()
        return Score(len(labels), {"loss": loss_sum})
