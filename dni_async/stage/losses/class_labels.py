"""Cross-entropy with all that torch has for it, and of labels of pixels."""

from __future__ import annotations

import torch
from torch.nn import functional

from dni_async.config.target_form import TargetForm
from dni_async.errors import ConfigError
from dni_async.stage.losses.differentiated import Differentiated
from dni_async.stage.losses.encodings import OneHot, Shares

__all__ = ["ClassLabels"]

_IGNORE_INDEX = -100  # torch's default: where none is ignored, a label that never occurs


class ClassLabels(Differentiated):
    """functional.cross_entropy of logits of C classes; mean over the labels that count.

    class_dim 1: of logits [B, C, ...] with labels [B, ...]; samples are the rows of a batch.
    class_dim -1: of [B, ..., C]; each label is a sample's. weights: of classes [C], and then the
    mean is the weighted one.
    """

    def __init__(
        self,
        form: TargetForm,
        num_logits: int,
        *,
        class_dim: int = -1,
        label_smoothing: float = 0.0,
        weights: torch.Tensor | None = None,
    ) -> None:
        is_dense = class_dim == 1 and bool(form.shape)
        super().__init__(
            (num_logits, *form.shape) if is_dense else (num_logits,),
            (Shares if is_dense else OneHot)(form.num_classes, form.ignored),
            torch.int64,
        )
        self._num_classes = form.num_classes
        self._is_dense, self._smoothing = is_dense, label_smoothing
        self._has_ignored = form.ignored is not None
        self._ignore_index = _IGNORE_INDEX if form.ignored is None else form.ignored
        self._weights = None if weights is None else weights.detach().float()

    @property
    def has_channels_first(self) -> bool:
        """Where each place has a label."""
        return self._is_dense

    def sample_dims(self, targets: torch.Tensor) -> int:
        """All of them, where each label is a sample's."""
        return 1 if self._is_dense else targets.ndim

    def check_outputs(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Raises ConfigError unless there are logits for every label and class."""
        places, given = list(targets.shape), list(outputs.shape)
        at = 1 if self._is_dense else len(places)
        is_shaped = len(given) == len(places) + 1 and given[:at] + given[at + 1 :] == places
        if not is_shaped or given[at] < self._num_classes:
            needs = [*places[:at], f"at least {self._num_classes}", *places[at:]]
            raise ConfigError(f"model: the output is {given}, needs [{', '.join(map(str, needs))}]")
        if self._weights is not None and len(self._weights) != given[at]:
            raise ConfigError(
                f"loss: has weights of {len(self._weights)} classes, but the model gives "
                f"{given[at]} logits; give as many weights"
            )

    def mean(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Over the labels that count, in float32; NaN where none does."""
        logits = outputs.float()
        if not self._is_dense:
            logits, targets = logits.flatten(0, -2), targets.flatten()
        return functional.cross_entropy(
            logits,
            targets,
            weight=self._weights_on(logits.device),
            ignore_index=self._ignore_index,
            label_smoothing=self._smoothing,
        )

    def weight(self, targets: torch.Tensor) -> float:
        """The labels that count, or what they weigh together."""
        weights = self._weights_on(targets.device)
        if weights is not None:
            return float(weights[targets[targets != self._ignore_index]].sum())
        return float(self._num_samples(targets)) if self._has_ignored else float(len(targets))

    def _counts(self, targets: torch.Tensor) -> bool:
        may_not = self._has_ignored or self._weights is not None
        return not may_not or self.weight(targets) > 0

    def _num_samples(self, targets: torch.Tensor) -> int:
        return int((targets != self._ignore_index).sum()) if self._has_ignored else targets.numel()

    def _weights_on(self, device: torch.device) -> torch.Tensor | None:
        if self._weights is not None and self._weights.device != device:
            self._weights = self._weights.to(device)
        return self._weights
