"""The run's optimizer for a stage: one of ours, a class, or a factory of the user's own.

A class or a factory is given the parameters of the whole network, as in plain torch, and what it
makes is cut down to those of the stage. So groups may depend on all names, or on how many layers
there are, and a stage that has nothing for one of several optimizers needs none.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from dni_async.config.extensions import find_callable
from dni_async.config.names import OF_OPTIMIZERS
from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.stage.descent.muon import MOMENTUM, Muon, matrices_of
from dni_async.stage.descent.optimizers import Adam, Optimizer, Sgd
from dni_async.stage.descent.torch_optimizers import Named, TorchOptimizers

__all__ = ["MAKERS", "is_joint", "left_out", "make_optimizer"]

MANY = 20_000_000  # numbers in a network, of which three more copies would take long


@dataclass(frozen=True, slots=True)
class _Asked:
    """For what an optimizer of ours is made, and how. whole, tables: see make_optimizer."""

    named: Named
    whole: Named
    tables: Collection[int]
    config: RunConfig

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Of the stage, in order."""
        return [parameter for _, parameter in self.named]

    @property
    def values(self) -> dict[str, float]:
        """Rate, momentum and decay: what the run says, and the defaults."""
        return {**OF_OPTIMIZERS, **_said(self.config)}


def make_optimizer(
    named: Named,
    config: RunConfig,
    whole: Named | None = None,
    *,
    tables: Collection[int] = (),
) -> Optimizer:
    """The run's optimizer for named parameters.

    whole: those of the whole network, which have named among them; None: there are no others.
    tables: the ids of those that are looked up in, as embeddings are; see muon.tables_of. Raises
    ConfigError where the user's own cannot be made, or is none that can be used.
    """
    make = MAKERS.get(config.optimizer)
    if make is not None:
        return make(_Asked(named, whole or named, tables, config))
    return TorchOptimizers(_own(_among(named, whole), config), named)


def left_out(named: Named, config: RunConfig) -> list[str]:
    """The trainable ones of a network's parameters that the run's optimizer does not hold."""
    if config.optimizer in MAKERS:
        return []
    held = {id(parameter) for each in _own(named, config) for parameter in _held(each)}
    return [name for name, p in named if p.requires_grad and id(p) not in held]


def is_joint(named: Named, config: RunConfig) -> bool:
    """Whether the run's optimizer makes other updates where it holds a part of a network alone.

    It is tried for two updates, by random gradients, on copies; not for a large network.
    """
    if config.optimizer in MAKERS or sum(each.numel() for _, each in named) > MANY:
        return False
    whole, cut = (
        [(name, nn.Parameter(p.detach().clone(), p.requires_grad)) for name, p in named]
        for _ in range(2)
    )
    middle = len(cut) // 2
    optimizers = [
        make_optimizer(whole, config),
        make_optimizer(cut[:middle], config, cut),
        make_optimizer(cut[middle:], config, cut),
    ]
    draw = torch.Generator().manual_seed(0)
    for _ in range(2):
        for (_, one), (_, other) in zip(whole, cut, strict=True):
            if one.requires_grad:
                one.grad = torch.randn(one.shape, generator=draw).to(one)
                other.grad = one.grad.clone()
        try:
            for optimizer in optimizers:
                optimizer.update()
        except Exception:  # which the trial says, of a gradient that is none of ours
            return False
    return not all(torch.equal(one, other) for (_, one), (_, other) in zip(whole, cut, strict=True))


def _sgd(asked: _Asked) -> Sgd:
    return Sgd(asked.parameters, **asked.values)


def _adam(asked: _Asked, *, decoupled: bool = False) -> Adam:
    lr, weight_decay = asked.values["lr"], asked.values["weight_decay"]
    return Adam(asked.parameters, lr=lr, weight_decay=weight_decay, decoupled=decoupled)


def _muon(asked: _Asked) -> Muon:
    momentum = asked.config.momentum
    return Muon(
        asked.parameters,
        matrices_of(asked.named, asked.whole, asked.tables),
        lr=asked.values["lr"],
        momentum=MOMENTUM if momentum is None else momentum,
        weight_decay=asked.values["weight_decay"],
    )


def _said(config: RunConfig) -> dict[str, float]:
    """What the run says to its optimizers."""
    values = {name: getattr(config, name) for name in OF_OPTIMIZERS}
    return {name: value for name, value in values.items() if value is not None}


MAKERS: Final[dict[str, Callable[[_Asked], Optimizer]]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": functools.partial(_adam, decoupled=True),
    "muon": _muon,
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
    said = _said(config)
    taken = _taken(found, kind) if is_class else {}
    for name in said:
        if not taken.get(name, False):
            raise ConfigError(
                f"{name}: has no effect, as {title} does not take it or says it itself; leave out "
                f"{name}, or say it there"
            )
    parameters = [parameter for _, parameter in named] if is_class else list(named)
    make = functools.partial(found, parameters, **said)
    try:
        made = make()
    except Exception as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"optimizer: {title} raised {type(error).__name__}: {text}") from error
    return _checked(made, title, named)


def _taken(found: Any, kind: type) -> dict[str, bool]:
    """Which settings a class takes that has not been told already."""
    told = found.keywords if isinstance(found, functools.partial) else {}
    known = inspect.signature(kind).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in known.values())
    return {name: name not in told and (takes_any or name in known) for name in OF_OPTIMIZERS}


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
