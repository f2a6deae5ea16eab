"""What a batch of a user's stream must be, and what it becomes for the run."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Final

import torch

from dni_async.errors import DataError

__all__ = ["BatchCheck", "broken"]

_TORCHS: Final = "Original Traceback (most recent call last):\n"


class BatchCheck:
    """Takes the batches of one part as they come, and says what is wrong with one.

    part: training or test, for errors. fit: makes targets what the loss takes; see TargetFit.
    """

    def __init__(
        self, part: str, fit: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    ) -> None:
        self._part = part
        self._fit = fit
        self._form: tuple[torch.dtype, int, torch.dtype, int] | None = None

    def __call__(self, index: int, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs [B, ...], float32 or int64 ids, and targets. index: of the batch in its pass.

        Numbers of any kind become float32, but int64, which are ids. Raises DataError.
        """
        try:
            x, y = _pair(batch)
            inputs = _inputs(x)
            targets = self._fit(_tensor("targets", y), inputs)
            self._check(inputs, targets)
        except DataError as error:
            raise DataError(f"data: batch {index} of the {self._part} part {error}") from None
        return inputs, targets

    def _check(self, x: torch.Tensor, y: torch.Tensor) -> None:
        if len(x) != len(y):
            raise DataError(f"has {len(x)} inputs, but targets of {len(y)}")
        if x.is_floating_point():
            _check_finite(x)
        elif int(x.min()) < 0:
            raise DataError(
                f"holds {int(x.min())}, but int64 inputs are ids, which start at 0; give numbers "
                "as float32"
            )
        form = (x.dtype, x.ndim, y.dtype, y.ndim)
        if self._form is None:
            self._form = form
        if form != self._form:
            raise DataError(
                f"has {_said(form)}, but those before it {_said(self._form)}; shapes may change "
                "from batch to batch, dtypes and dimensions may not"
            )


def broken(what: str, error: Exception) -> DataError:
    """What to say when a user's own code raises instead of making what: its traceback, last."""
    text = str(error)
    if _TORCHS in text:  # it was raised in a process of a loader
        story = "Traceback (most recent call last):\n" + text.partition(_TORCHS)[2]
    else:
        trace = error.__traceback__
        story = "".join(traceback.format_exception(type(error), error, trace and trace.tb_next))
    start = "data" if what == "data" else f"data: {what}"
    return DataError(f"{start} could not be made:\n{story.rstrip()}")


def _pair(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, list | tuple) and len(batch) == 2:
        return batch[0], batch[1]
    form = f"a {type(batch).__name__}"
    if isinstance(batch, list | tuple):
        form = f"{len(batch)} x {', '.join(type(part).__name__ for part in batch[:4])}"
    elif isinstance(batch, dict):
        form = f"a {type(batch).__name__} of {', '.join(map(str, list(batch)[:8]))}"
    raise DataError(
        f"is {form}, not (inputs, targets); give a collate_fn, or a function around it, that makes "
        "such pairs"
    )


def _inputs(value: Any) -> torch.Tensor:
    """As a network takes them. Raises DataError."""
    if isinstance(value, list | tuple) and value and hasattr(value[0], "shape"):
        raise DataError(
            f"has {len(value)} inputs; several are not built yet: give one tensor (torch.cat)"
        )
    x = _tensor("inputs", value)
    if x.ndim < 2 or x.numel() == 0:
        raise DataError(
            f"has inputs of shape {list(x.shape)}, not [samples, ...features] with some of each"
        )
    return x if x.dtype == torch.int64 else x.to(torch.float32)


def _tensor(what: str, value: Any) -> torch.Tensor:
    try:
        tensor = value.detach() if isinstance(value, torch.Tensor) else torch.as_tensor(value)
        tensor = tensor.cpu().contiguous()
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"has {what} that are no tensor ({error})") from error
    if tensor.is_complex() or tensor.ndim == 0:
        raise DataError(f"has {what} of {tensor.dtype} {list(tensor.shape)}")
    return tensor


def _check_finite(x: torch.Tensor) -> None:
    if bool(x.sum().isfinite()):  # one pass; a sum that overflows is looked at closely
        return
    bad = ~x.flatten(1).isfinite().all(1)
    if bool(bad.any()):
        index, num_bad = int(bad.nonzero()[0, 0]), int(bad.sum())
        more = f", and {num_bad - 1} more" if num_bad > 1 else ""
        raise DataError(f"has inputs that are not finite in sample {index}{more}")


def _said(form: tuple[torch.dtype, int, torch.dtype, int]) -> str:
    x, x_dims, y, y_dims = form
    return f"inputs {x} of {x_dims} dimensions and targets {y} of {y_dims}"
