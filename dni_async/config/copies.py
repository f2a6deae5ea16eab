"""A network that a caller has in hand, on its way to other processes: what copies and pickles it.

torch refuses both for networks that plain training takes: where a module holds a tensor that it
computed (weight_norm), and where a parametrization has made it a class of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from dni_async.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import nn

    Network = TypeVar("Network", bound=nn.Module)

__all__ = ["Copies", "copied", "hooked_parameters", "reduced"]


class Copies:
    """Makes copies of a network, on the CPU. network: may be trained and changed meanwhile.

    Raises ConfigError for what no copy would have.
    """

    def __init__(self, network: nn.Module) -> None:
        for name in hooked_parameters(network):
            raise ConfigError(
                f"model: {name} has a hook on its gradient, which no copy has; give a function "
                "that makes the network and registers the hook"
            )
        self.network = copied(network).cpu()
        self.__name__ = type(network).__name__

    def __call__(self) -> nn.Module:
        """Another copy."""
        return copied(self.network)


def reduced(value: object) -> Any:
    """How to pickle a module with parametrizations; NotImplemented for all else."""
    from torch import nn
    from torch.nn.utils import parametrize

    if not isinstance(value, nn.Module) or not parametrize.is_parametrized(value):
        return NotImplemented
    names = tuple(value.parametrizations)  # type: ignore[arg-type]
    return _parametrized, (type(value).__bases__[0], names), dict(vars(value))


def _parametrized(base: type[nn.Module], names: tuple[str, ...]) -> nn.Module:
    """An empty module of base, as register_parametrization leaves its class for these tensors."""
    from torch.nn.utils import parametrize

    module = base.__new__(base)
    parametrize._inject_new_class(module)
    for name in names:
        parametrize._inject_property(module, name)
    return module


def hooked_parameters(network: nn.Module) -> Iterator[str]:
    """The names of parameters with a hook on their gradient, which no copy has."""
    for name, parameter in network.named_parameters():
        hooks = (parameter._backward_hooks, getattr(parameter, "_post_accumulate_grad_hooks", None))
        if any(hooks):
            yield name


def copied(network: Network) -> Network:
    """A deep copy; of tensors that were computed their values. Raises ConfigError."""
    memo = {id(tensor): tensor.detach().clone() for tensor in _computed(network)}
    try:
        return copy.deepcopy(network, memo)
    except Exception as error:  # whatever an object's own copying raises
        raise ConfigError(
            f"model: {type(network).__name__} cannot be copied: {error}; give a function that "
            "makes it"
        ) from error


def _computed(network: nn.Module) -> Iterator[torch.Tensor]:
    import torch

    for module in network.modules():
        for value in vars(module).values():
            held = value.values() if isinstance(value, dict) else value
            for each in held if isinstance(value, dict | list | tuple) else (value,):
                if isinstance(each, torch.Tensor) and each.grad_fn is not None:
                    yield each
