"""The one place where a run picks its loss: a named one, a module of torch's, or the user's own."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

from dni_async.config.names import LOSSES
from dni_async.config.own_loss import find_loss
from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.errors import ConfigError
from dni_async.stage.losses.class_labels import ClassLabels
from dni_async.stage.losses.cross_entropy import CrossEntropy
from dni_async.stage.losses.finished import LogProbabilities, Probabilities
from dni_async.stage.losses.interface import Loss
from dni_async.stage.losses.numbers import Function, OfNumbers
from dni_async.stage.losses.own import OwnLoss

__all__ = ["make_loss", "run_loss"]

_OF_NUMBERS: Final[dict[str, Function]] = {
    "mse": functional.mse_loss,
    "l1": functional.l1_loss,
    "huber": functional.huber_loss,
    "smooth-l1": functional.smooth_l1_loss,
    "bce-with-logits": functional.binary_cross_entropy_with_logits,
}


def run_loss(
    config: RunConfig, form: TargetForm, output_shape: tuple[int, ...] | None = None
) -> Loss:
    """The loss that a run is trained by, for targets of that form.

    output_shape: of one sample's outputs; None: as a network that is made for these targets gives
    them. Raises ConfigError where the loss does not import or does not take such targets.
    """
    shape = form.output_shape if output_shape is None else output_shape
    if config.loss == "cross-entropy":
        return _of_labels(form, shape, label_smoothing=config.label_smoothing)
    if config.loss == "nll":
        return _of_labels(form, shape, LogProbabilities)
    if config.loss == "bce":
        return Probabilities(form, shape)
    if config.loss in LOSSES:
        return OfNumbers(_OF_NUMBERS[config.loss], form, shape)
    found = find_loss(config.loss)
    return _known(found, form, shape) or OwnLoss(found, form, shape)


def make_loss(name: str, shape: tuple[int, ...]) -> Loss:
    """The loss of that name, for one sample's outputs of that shape."""
    if name == "cross-entropy":
        return CrossEntropy(*shape)
    return OfNumbers(_OF_NUMBERS[name], TargetForm(0, shape, "float32"), shape)


def _known(found: Any, form: TargetForm, shape: tuple[int, ...]) -> Loss | None:
    """Of a module of torch's that gives a mean; None for all else."""
    kind = type(found)
    if kind.__module__ != nn.MSELoss.__module__ or found.reduction != "mean":
        return None
    if kind is nn.CrossEntropyLoss and form.num_classes:
        smoothing = found.label_smoothing
        return _of_labels(form, shape, label_smoothing=smoothing, weights=found.weight)
    if kind is nn.NLLLoss and form.num_classes:
        return _of_labels(form, shape, LogProbabilities, weights=found.weight)
    if kind is nn.BCELoss:
        return Probabilities(form, shape, found.weight)
    functions: dict[type, Function] = {
        nn.MSELoss: functional.mse_loss,
        nn.L1Loss: functional.l1_loss,
        nn.HuberLoss: lambda o, t: functional.huber_loss(o, t, delta=found.delta),
        nn.SmoothL1Loss: lambda o, t: functional.smooth_l1_loss(o, t, beta=found.beta),
        nn.BCEWithLogitsLoss: partial(_on_device, found),
    }
    return OfNumbers(functions[kind], form, shape) if kind in functions else None


def _on_device(module: nn.Module, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A module with buffers, where its numbers are."""
    value: torch.Tensor = module.to(outputs.device)(outputs, targets)
    return value


def _of_labels(
    form: TargetForm,
    shape: tuple[int, ...],
    kind: type[ClassLabels] = ClassLabels,
    *,
    label_smoothing: float = 0.0,
    weights: torch.Tensor | None = None,
) -> Loss:
    if not form.num_classes:
        name = "cross-entropy" if kind is ClassLabels else "nll"
        raise ConfigError(f'loss: {name} takes class labels; for numbers name loss="mse"')
    class_dim = _class_dim(form, shape)
    is_plain = kind is ClassLabels and not label_smoothing and weights is None
    if class_dim == -1 and is_plain:
        return CrossEntropy(form.num_classes, form.ignored)
    is_dense = class_dim == 1
    num_logits = (shape[0] if is_dense else shape[-1]) if shape else form.num_classes
    return kind(
        form, num_logits, class_dim=class_dim, label_smoothing=label_smoothing, weights=weights
    )


def _class_dim(form: TargetForm, shape: tuple[int, ...]) -> int:
    """Which dimension of outputs the classes are in: of pixels the one behind the batch's, as torch
    has it; of positions the last, unless only the other fits.
    """
    if len(form.shape) < 2:
        fits_last = shape[:-1] == form.shape and bool(shape) and shape[-1] >= form.num_classes
        fits_first = len(shape) == 2 and shape[1:] == form.shape and shape[0] >= form.num_classes
        return 1 if form.shape and fits_first and not fits_last else -1
    return 1
