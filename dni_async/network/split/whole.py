"""Call a module as its user wrote it, and pick its outputs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dni_async.errors import ConfigError

__all__ = ["call_whole"]

_OFF = "use_cache"  # what is kept for generating text: of no use in training, and not a tensor


def call_whole(module: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    """The outputs of module: the tensor that it gives, or the logits of what it gives.

    A forward that takes use_cache is told False. Raises ConfigError where there is neither.
    """
    takes_cache = _OFF in inspect.signature(module.forward).parameters
    result: Any = module(*inputs, **({_OFF: False} if takes_cache else {}))
    if isinstance(result, Mapping) and isinstance(result.get("logits"), torch.Tensor):
        result = result["logits"]
    if not isinstance(result, torch.Tensor):
        result = getattr(result, "logits", result)
    if not isinstance(result, torch.Tensor):
        raise ConfigError(
            f"model: {type(module).__name__} gives a {type(result).__name__}; its forward must "
            "give a tensor, or a mapping or object with a tensor called logits"
        )
    return result
