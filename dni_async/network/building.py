"""Build a network as one nn.Sequential, find its layers, and cut out a stage.

A layer is a child with parameters, frozen ones too, together with the children that follow it and
only reshape, normalise or activate what it made; so a flat ``Linear, ReLU, Linear`` has two layers.
Stages keep the names of the whole network, so their weights are a part of its state dict.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from dni_async.config.copies import copied
from dni_async.config.extensions import find_callable, is_extension
from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.network.models import make_model
from dni_async.network.partition import split_layers
from dni_async.network.split.making import make_chain
from dni_async.network.split.parts import Chain, Part
from dni_async.stage.values import gathered, tensors_of

__all__ = [
    "build_module",
    "build_network",
    "check_network",
    "check_tied",
    "cut_stage",
    "has_batch_norm",
    "inside_ties",
    "layer_children",
    "layer_starts",
]

# Children with parameters that belong to the layer before them.
_FOLLOWERS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.PReLU)


def build_network(
    config: RunConfig, input_shape: tuple[int, ...], output_shape: int | tuple[int, ...]
) -> nn.Sequential:
    """The whole network of a run as a line of children; as build_module else.

    output_shape: of one sample, or how many outputs it has; networks of ours are made for that. An
    nn.Sequential is a line, unless split says where to cut it; any other module is split. Raises
    ConfigError where that cannot be.
    """
    module = build_module(config, input_shape, output_shape)
    if isinstance(module, nn.Sequential) and not config.split:
        return _split_own_forward(module, config, input_shape) or module
    given = [module]

    def make() -> nn.Module:
        return given.pop() if given else build_module(config, input_shape, output_shape)

    return _chain(make, config, input_shape)


def _chain(make: Callable[[], nn.Module], config: RunConfig, input_shape: tuple[int, ...]) -> Chain:
    return make_chain(make, str(config.model), config.split, input_shape, dtype=config.dtype)


def _split_own_forward(
    module: nn.Sequential, config: RunConfig, input_shape: tuple[int, ...]
) -> Chain | None:
    """A Sequential whose own forward may do more than to run its children; None where that fails.

    It then stands as it is, and the trial says what is wrong with it.
    """
    if type(module).forward is nn.Sequential.forward or "forward" in vars(module):
        return None
    try:
        return _chain(lambda: copied(module), config, input_shape)
    except ConfigError:
        return None


def build_module(
    config: RunConfig, input_shape: tuple[int, ...], output_shape: int | tuple[int, ...]
) -> nn.Module:
    """The network of a run as its user wrote it, on the CPU, drawn from config.seed alone.

    Raises ConfigError if ``model`` does not import, is not callable, or makes no module, and
    if it needs images and the samples are none.
    """
    is_own = config.model is not None and is_extension(config.model)
    factory = find_callable("model", str(config.model)) if is_own else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if factory is None:
            return make_model(config, input_shape, output_shape)
        try:
            network = factory()
        except Exception as error:
            raise ConfigError(f"model: {config.model}() raised {error!r}") from error
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"model: {config.model}() gave a {type(network).__name__}, needs a torch.nn.Module"
        )
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError(f"model: {config.model}() has no parameters to train")
    return network


def layer_starts(network: nn.Sequential) -> list[int]:
    """Index of the first child of each layer, ascending, the first one 0."""
    starts = []
    for index, child in enumerate(network):
        if next(child.parameters(), None) is not None and not isinstance(child, _FOLLOWERS):
            starts.append(index)
    return [0, *starts[1:]]


def layer_children(network: nn.Sequential) -> list[tuple[int, str]]:
    """The name of each child, with the layer that it is a part of, counted from 0.

    Of a chain of parts: of each module and weight that is a piece of one.
    """
    starts = layer_starts(network)
    return [
        (bisect_right(starts, index) - 1, name)
        for index, (child, module) in enumerate(network._modules.items())
        for name in (module.pieces if isinstance(module, Part) else (child,))
    ]


def cut_stage(network: nn.Sequential, first_layer: int, end_layer: int) -> nn.Sequential:
    """Layers [first_layer, end_layer) as a Sequential that keeps the children's names."""
    starts = [*layer_starts(network), len(network)]
    # Not named_children(): it passes over a module that stands in several places.
    children = list(network._modules.items())[starts[first_layer] : starts[end_layer]]
    kind = Chain if isinstance(network, Chain) else nn.Sequential
    return kind(OrderedDict(children))


def has_batch_norm(network: nn.Sequential) -> bool:
    """Whether a batch of one sample cannot be trained on."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def check_network(
    network: nn.Sequential,
    x: torch.Tensor,
    leading: tuple[int, ...],
) -> torch.Tensor:
    """What network makes of a few samples x [B, ...]. Raises ConfigError if they do not fit.

    leading: what numbers the samples of every activation between layers, (B,) or (B, T); each must
    be one floating-point tensor [*leading, ...], or several values of which one is. Of the output
    that is for the loss to say.
    """
    starts = {*layer_starts(network)[1:], len(network)}
    was_training = network.training
    network.eval()
    hidden = x
    try:
        with torch.no_grad():
            for index, child in enumerate(network):
                hidden = child(hidden)
                if index + 1 in starts:
                    is_last = index + 1 == len(network)
                    _check_hidden(hidden, index, leading, is_last=is_last)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"model: {x.dtype} inputs {list(x.shape)} do not pass the network: {error}"
        ) from error
    finally:
        network.train(was_training)
    if not isinstance(hidden, torch.Tensor):
        raise ConfigError(
            f"model: the last child gives a {type(hidden).__name__}, needs one tensor: the outputs "
            "that the loss compares with the targets"
        )
    return hidden


def check_tied(network: nn.Sequential, ranges: Sequence[tuple[int, int]]) -> None:
    """Raises ConfigError if a parameter to train stands in two of the stages.

    ranges: the layers of each stage, half-open.
    """
    found = _first_tied(network, ranges)
    if found is None:
        return
    (stage, name), (other, again) = found
    num_layers = ranges[-1][1]
    fit = (
        count
        for count in range(len(ranges), 0, -1)
        if _first_tied(network, split_layers(num_layers, count)) is None
    )
    raise ConfigError(
        f"model: {name} and {again} are one parameter, but stages {stage} and {other} would update "
        f"it on their own; with --stages {next(fit)} --partition even they are in one stage, else "
        "freeze it or untie the two"
    )


def inside_ties(network: nn.Sequential) -> Iterator[int]:
    """Layers behind which no stage may end: one there, or before it, has a parameter to train in
    common with one above.
    """
    count = len(layer_starts(network))
    for end in range(1, count):
        if _first_tied(network, [(0, end), (end, count)]) is not None:
            yield end - 1


def _first_tied(
    network: nn.Sequential, ranges: Sequence[tuple[int, int]]
) -> tuple[tuple[int, str], tuple[int, str]] | None:
    """The first parameter to train in two stages: which, and under which names."""
    held: dict[int, tuple[int, str]] = {}
    for stage, layers in enumerate(ranges):
        for name, parameter in cut_stage(network, *layers).named_parameters():
            first = held.setdefault(id(parameter), (stage, name))
            if parameter.requires_grad and first[0] != stage:
                return first, (stage, name)
    return None


def _check_hidden(hidden: object, index: int, leading: tuple[int, ...], *, is_last: bool) -> None:
    """Of outputs, one number a sample will do."""
    try:
        values = tensors_of(gathered(hidden))
    except ConfigError:  # which matters only where a stage ends, and the trial says so there
        return
    for value in values:
        is_shaped = value.ndim > len(leading) - is_last and value.shape[: len(leading)] == leading
        if value.is_floating_point() and is_shaped:
            return
    found = ", ".join(f"{value.dtype} {list(value.shape)}" for value in values)
    raise ConfigError(
        f"model: child {index} gives {found}; a layer must give floating-point activations "
        f"[{_listed(leading)}, ...]"
    )


def _listed(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes))
