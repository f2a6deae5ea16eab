"""A loss that the user names or gives: what it is, and what it takes for targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from dni_async.config.extensions import find_callable
from dni_async.config.names import LOSSES
from dni_async.config.target_form import Taken
from dni_async.errors import ConfigError

__all__ = ["as_settings", "find_loss", "taken_by"]

_MODULES: Final = {
    "CrossEntropyLoss": "cross-entropy",
    "MSELoss": "mse",
    "L1Loss": "l1",
    "HuberLoss": "huber",
    "SmoothL1Loss": "smooth-l1",
    "BCEWithLogitsLoss": "bce-with-logits",
    "NLLLoss": "nll",
    "BCELoss": "bce",
}
"""Of torch.nn, the losses that are known here by a name."""

_FUNCTIONS: Final = {
    "cross_entropy": "cross-entropy",
    "mse_loss": "mse",
    "l1_loss": "l1",
    "huber_loss": "huber",
    "smooth_l1_loss": "smooth-l1",
    "binary_cross_entropy_with_logits": "bce-with-logits",
    "nll_loss": "nll",
    "binary_cross_entropy": "bce",
}
"""Of torch.nn.functional."""

_DEFAULTS: Final = {
    "reduction": "mean",
    "weight": None,
    "pos_weight": None,
    "delta": 1.0,
    "beta": 1.0,
}
"""What a module's attributes are where its name says it all."""


def find_loss(name: str) -> Callable[..., object]:
    """What ``package.module:name`` names; a class, as torch.nn:HuberLoss, is made by calling it.

    Raises ConfigError.
    """
    found = find_callable("loss", name)
    if not isinstance(found, type):
        return found
    try:
        made = found()
    except Exception as error:
        raise ConfigError(f"loss: making {name} raised {error!r}") from error
    if not callable(made):
        raise ConfigError(f"loss: {name}() gives a {type(made).__name__}, needs what can be called")
    loss: Callable[..., object] = made
    return loss


def taken_by(loss: str, ignore_index: int) -> Taken:
    """What a run's loss takes for targets; a module of torch's says itself what does not count.

    Raises ConfigError where one of the user's own does not import.
    """
    if loss in LOSSES:
        return Taken(LOSSES[loss].takes, ignore_index)
    found = find_loss(loss)
    known = _known(found)
    if known is None:
        return Taken("any", ignore_index)
    return Taken(LOSSES[known].takes, getattr(found, "ignore_index", ignore_index))


def as_settings(loss: object) -> dict[str, Any] | None:
    """The settings that say the same as a loss of torch's; None where none do."""
    if getattr(loss, "__module__", None) == "torch.nn.functional":
        name = _FUNCTIONS.get(getattr(loss, "__name__", ""))
        return None if name is None else {"loss": name}
    known = _known(loss)
    if known is None or any(_differs(loss, name, usual) for name, usual in _DEFAULTS.items()):
        return None
    settings: dict[str, Any] = {"loss": known}
    of_labels = ("label_smoothing", "ignore_index")
    settings |= {name: getattr(loss, name) for name in of_labels if hasattr(loss, name)}
    return settings


def _known(loss: object) -> str | None:
    """The name of a module of torch's; None for all else."""
    kind = type(loss)
    is_torchs = kind.__module__ == "torch.nn.modules.loss"
    return _MODULES.get(kind.__name__) if is_torchs else None


def _differs(loss: object, name: str, usual: object) -> bool:
    value = getattr(loss, name, usual)
    return value is not None if usual is None else bool(value != usual)
