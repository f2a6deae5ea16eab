"""The run's optimizer for a stage: one of ours, a class, or a factory of the user's own.

A class or a factory is given the parameters of the whole network, as in plain torch, and what it
makes is cut down to those of the stage. So groups may depend on all names, or on how many layers
there are, and a stage that has nothing for one of several optimizers needs none.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import torch

from dni_async.config.extensions import find_callable
from dni_async.config.run_config import RunConfig
from dni_async.config.settings import SETTINGS
from dni_async.errors import ConfigError
from dni_async.stage.descent.optimizers import Adam, Optimizer, Sgd
from dni_async.stage.descent.torch_optimizers import Named, TorchOptimizers

__all__ = ["MAKERS", "left_out", "make_optimizer"]


def make_optimizer(named: Named, config: RunConfig, whole: Named | None = None) -> Optimizer:
    """The run's optimizer for named parameters.

    whole: those of the whole network, which have named among them; None: there are no others.
    Raises ConfigError where the user's own cannot be made, or is none that can be used.
    """
    make = MAKERS.get(config.optimizer)
    if make is not None:
        return make((parameter for _, parameter in named), config)
    return TorchOptimizers(_own(_among(named, whole), config), named)


def left_out(named: Named, config: RunConfig) -> list[str]:
    """The trainable ones of a network's parameters that the run's optimizer does not hold."""
    if config.optimizer in MAKERS:
        return []
    held = {id(parameter) for each in _own(named, config) for parameter in _held(each)}
    return [name for name, p in named if p.requires_grad and id(p) not in held]


def _sgd(parameters: Iterable[torch.Tensor], config: RunConfig) -> Sgd:
    return Sgd(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def _adam(parameters: Iterable[torch.Tensor], config: RunConfig) -> Adam:
    return Adam(parameters, lr=config.lr, weight_decay=config.weight_decay)


def _adamw(parameters: Iterable[torch.Tensor], config: RunConfig) -> Adam:
    return Adam(parameters, lr=config.lr, weight_decay=config.weight_decay, decoupled=True)


MAKERS: Final[dict[str, Callable[[Iterable[torch.Tensor], RunConfig], Optimizer]]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adamw,
}
"""What makes each that config.names has a name for."""


def _among(named: Named, whole: Named | None) -> Named:
    """The whole network's parameters, with those of the stage as they are there."""
    own = dict(named)
    all_of_them = [(name, own.pop(name, parameter)) for name, parameter in whole or ()]
    return [*all_of_them, *own.items()]


def _own(named: Named, config: RunConfig) -> list[torch.optim.Optimizer]:
    """What the run's class or factory makes over these parameters. Raises ConfigError."""
    found: Any = find_callable("optimizer", config.optimizer)
    kind: Any = found.func if isinstance(found, functools.partial) else found
    is_class = isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    title = getattr(kind, "__name__", config.optimizer)
    if is_class:
        settings = _settings_for(found, kind, config)
        make = functools.partial(found, [parameter for _, parameter in named], **settings)
    else:
        _refuse(config, ("lr", "weight_decay", "momentum"), "a factory")
        make = functools.partial(found, list(named))
    try:
        made = make()
    except Exception as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"optimizer: {title} raised {type(error).__name__}: {text}") from error
    return _checked(made, title, named)


def _settings_for(found: Any, kind: type, config: RunConfig) -> dict[str, float]:
    """What the run's settings say to a class, which may be given some already."""
    said = found.keywords if isinstance(found, functools.partial) else {}
    _refuse(config, ("momentum", *(name for name in ("lr", "weight_decay") if name in said)))
    taken = inspect.signature(kind).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in taken.values())
    wanted = {"lr": config.lr}
    if config.weight_decay:
        wanted["weight_decay"] = config.weight_decay
    for name in wanted:
        if name not in taken and not takes_any:
            _refuse(config, (name,))
    return {
        name: value
        for name, value in wanted.items()
        if name not in said and (name in taken or takes_any)
    }


def _refuse(config: RunConfig, names: Sequence[str], what: str = "a class") -> None:
    """Raises ConfigError if one of these is said, though nobody would hear of it."""
    for name in names:
        if getattr(config, name) != SETTINGS[name].default:
            raise ConfigError(
                f"{name}: has no effect, as optimizer is {what} of torch's kind that says it "
                f"itself; leave out {name}, or say it there"
            )


def _checked(made: object, title: str, named: Named) -> list[torch.optim.Optimizer]:
    """The optimizers that were made. Raises ConfigError for what cannot be used."""
    several: list[Any] = list(made) if isinstance(made, list | tuple) else [made]
    known = {id(parameter) for _, parameter in named}
    for each in several:
        if not isinstance(each, torch.optim.Optimizer):
            raise ConfigError(
                f"optimizer: {title} gave a {type(each).__name__}, needs a torch.optim.Optimizer "
                "or a list of them"
            )
        kind = type(each).__name__
        if _needs_closure(each):
            raise ConfigError(
                f"optimizer: {kind} computes the loss again within an update, which a stage "
                "cannot; take one whose step needs no closure"
            )
        if any(id(parameter) not in known for parameter in _held(each)):
            raise ConfigError(
                f"optimizer: {title} gave a {kind} of parameters that are none of the network's; "
                "take them from the named parameters that it is given"
            )
    if not several:
        raise ConfigError(f"optimizer: {title} gave an empty list, needs a torch.optim.Optimizer")
    return several


def _held(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty
