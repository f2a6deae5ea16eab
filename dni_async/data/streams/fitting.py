"""Makes the targets of a stream's batches what the loss takes, or says why they are not."""

from __future__ import annotations

import torch

from dni_async.config.target_form import Taken, TargetForm
from dni_async.errors import DataError

__all__ = ["TargetFit", "first_form"]


class TargetFit:
    """taken: by the loss. form: of all targets; None before a network has told of classes."""

    def __init__(self, taken: Taken, form: TargetForm | None) -> None:
        self.taken = taken
        self.form = form

    def __call__(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Targets y [B, ...] of inputs x: int64 labels or float32 numbers.

        A column [B, 1] of labels, one-hot rows of other numbers than integers, and zeros and ones
        are labels too. Raises DataError with half a sentence.
        """
        if self.taken.kind == "classes":
            labels = self._labels(y, x)
            self._check_labels(labels)
            return labels
        if self.taken.kind == "any" and not y.is_floating_point():
            return y.to(torch.int64)
        numbers = y.to(torch.float32)
        if not bool(numbers.isfinite().all()):
            raise DataError("has targets that are not finite")
        if self.taken.kind == "shares" and bool(((numbers < 0) | (numbers > 1)).any()):
            raise DataError("has targets that are neither zeros nor ones, which the loss takes")
        return numbers

    def _labels(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """As integers, one a sample or one for each position."""
        if y.ndim == 2 and y.shape[1] == 1 and self._has_one_label(x):
            y = y[:, 0]
        if not y.is_floating_point():
            return y.to(torch.int64)
        is_binary = bool(((y == 0) | (y == 1)).all())
        if is_binary and y.ndim == 1:
            return y.to(torch.int64)
        if is_binary and y.ndim == 2 and bool((y.sum(1) == 1).all()):
            return y.argmax(1)
        raise DataError(
            f"has targets {y.dtype} {list(y.shape)}, which are no class labels; give integers, or "
            'name loss="mse" for numbers'
        )

    def _has_one_label(self, x: torch.Tensor) -> bool:
        if self.form is not None:
            return not self.form.shape
        return x.ndim < 2 or x.shape[1] != 1

    def _check_labels(self, labels: torch.Tensor) -> None:
        lowest, highest = (int(each) for each in labels.aminmax()) if labels.numel() else (0, 0)
        ignored = self.taken.ignore_index if self.form is None else self.form.ignored
        if lowest < 0 and ignored is not None:
            counted = labels[labels != ignored]
            lowest, highest = (int(e) for e in counted.aminmax()) if counted.numel() else (0, 0)
        if lowest < 0:
            raise DataError(f"holds label {lowest}; labels start at 0")
        if self.form is not None and highest >= self.form.num_classes:
            raise DataError(
                f"holds label {highest}, but the network tells {self.form.num_classes} classes "
                f"apart (0 to {self.form.num_classes - 1})"
            )


def first_form(taken: Taken, y: torch.Tensor) -> TargetForm:
    """Of the targets of a first batch, which do not tell how many classes there are.

    Labels of positions may be such as do not count, though there are none in the first batch.
    """
    shape = tuple(y.shape[1:])
    if y.dtype != torch.int64:
        return TargetForm(0, shape, "float32")
    may_lack = taken.kind == "classes" and (bool(shape) or bool((y == taken.ignore_index).any()))
    return TargetForm(0, shape, "int64", taken.ignore_index if may_lack else None)
