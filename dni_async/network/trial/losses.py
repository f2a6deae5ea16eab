"""A loss of the user's own, tried on what the network makes of a few training samples."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from dni_async.errors import ConfigError
from dni_async.stage.losses.interface import Loss

__all__ = ["try_loss"]


def try_loss(network: nn.Sequential, loss: Loss, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Raises ConfigError for a loss that raises, is no scalar, has no gradient or is not finite.

    Of outputs that are not finite themselves nothing is said: the run will tell of those.
    """
    x, targets = batch
    was_training = network.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs: torch.Tensor = network.eval()(x.clone())
        network.train(was_training)
        with torch.enable_grad():
            leaf = outputs.detach().float().requires_grad_()
            gradient = _gradient(loss, leaf, targets)
    if bool(outputs.isfinite().all()) and not bool(gradient.isfinite().all()):
        raise ConfigError(
            f"loss: {_of(outputs, targets)} its gradient has "
            f"{int((~gradient.isfinite()).sum())} values that are not finite"
        )


def _gradient(loss: Loss, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    of = _of(outputs, targets)
    try:
        value: Any = loss.mean(outputs, targets)
    except Exception as error:  # whatever a function of the user's raises
        raise ConfigError(f"loss: {of} it raised {error!r}") from error
    if not isinstance(value, torch.Tensor) or value.ndim:
        is_tensor = isinstance(value, torch.Tensor)
        given = f"a tensor {list(value.shape)}" if is_tensor else f"a {type(value).__name__}"
        remedy = "give its mean()" if is_tensor else "give a tensor, as torch computes it"
        raise ConfigError(f"loss: {of} it gives {given}, needs a scalar tensor; {remedy}")
    if not bool(value.isfinite()) and bool(outputs.isfinite().all()):
        raise ConfigError(f"loss: {of} it is {value.item()}; it must be finite")
    if not value.requires_grad:
        raise ConfigError(
            f"loss: {of} it gives a value without a gradient by the outputs; compute it by torch, "
            "without detach(), item() or no_grad()"
        )
    try:
        (gradient,) = torch.autograd.grad(value, outputs)
    except Exception as error:
        raise ConfigError(f"loss: {of} its gradient cannot be computed: {error}") from error
    return gradient


def _of(outputs: torch.Tensor, targets: torch.Tensor) -> str:
    """How a sentence begins."""
    return (
        f"of outputs {list(outputs.shape)} and {str(targets.dtype).removeprefix('torch.')} targets "
        f"{list(targets.shape)}"
    )
