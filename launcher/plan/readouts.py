"""What each boundary's gradient is predicted by, where that is not what the settings name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dni_async.config.run_config import RunConfig
from dni_async.data.feed import Feed
from dni_async.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from dni_async.stage.losses.interface import Loss

__all__ = ["note_readouts"]

Shapes = list[tuple[int, ...]]  # of one sample of each value


def note_readouts(
    config: RunConfig,
    feed: Feed,
    ranges: Sequence[tuple[int, int]],
    output_shape: tuple[int, ...],
) -> list[str]:
    """Sentences on boundaries that get another synthesizer than they all do.

    That is a copy of the readout in the place of the critic, or a critic in that of a copy, or what
    returned gradients teach. Raises ConfigError where the rule does not go with that.
    """
    is_asked = config.synthesizer in ("critic", "copy") and config.rule_traits.needs_synthesizer
    if not is_asked or math.prod(output_shape) == 0:
        return []
    from dni_async.network.way_choice import copier
    from dni_async.stage.losses.catalog import run_loss
    from dni_async.stage.losses.readout import MAX_OUTPUTS

    loss = run_loss(config, feed.facts.form, output_shape)
    is_mlp = config.model is None
    if config.synthesizer == "critic" and is_mlp and loss.readout_size <= MAX_OUTPUTS:
        return []
    network, ends = _network(config, feed), {end for _, end in ranges[:-1]}
    passing = dict(enumerate(_passing(network, feed), start=1))
    copied, others = [], {}
    for layer in sorted(ends):
        makes_copy = copier(config, loss, network, layer, output_shape)
        if passing[layer].is_alone and makes_copy(passing[layer].shapes[0]) is not None:
            copied.append(layer)
        else:
            others[layer] = passing[layer].shapes
    return _said_of_copies(config, copied, others) + _said_of_outputs(config, loss, others)


def _said_of_copies(config: RunConfig, copied: Sequence[int], others: Iterable[int]) -> list[str]:
    if config.synthesizer == "critic":
        what = "a copy of what lies above predicts gradients above"
        return [f"{what} {_layers(copied)}"] if copied else []
    what = "no copy of what lies above can predict gradients above"
    why = "several values pass there, or modules that cannot be copied; there a critic does"
    return [f"{what} {_layers(others)}: {why}"] if others else []


def _said_of_outputs(config: RunConfig, loss: Loss, others: dict[int, Shapes]) -> list[str]:
    """Raises ConfigError where the rule goes with a readout alone."""
    from dni_async.stage.losses.readout import readout_of

    unread = [
        layer
        for layer, shapes in others.items()
        if any(readout_of(shape, loss) is None for shape in shapes)
    ]
    if not unread:
        return []
    said = f"{loss.readout_size:,} outputs a sample are too many to be read out above "
    said += _layers(unread)
    if config.rule_traits.needs_labels:
        raise ConfigError(
            f"synthesizer: {said}, but rule {config.rule} learns from such readouts alone; take "
            "--synthesizer copy, --rule dni with --targets bootstrap, or fdg"
        )
    return [f"{said}: there a synthesizer predicts that returned gradients alone teach"]


def _layers(ends: Iterable[int]) -> str:
    return f"layers {', '.join(str(end - 1) for end in sorted(ends))}"


def _network(config: RunConfig, feed: Feed) -> nn.Sequential:
    from dni_async.network.building import build_network

    facts = feed.facts
    return build_network(config, facts.input_shape, facts.form.output_shape).eval()


@dataclass(frozen=True, slots=True)
class _Passing:
    """What a layer gives: shapes of one sample; is_alone: one tensor, and no several values."""

    shapes: Shapes
    is_alone: bool


def _passing(network: nn.Sequential, feed: Feed) -> Iterator[_Passing]:
    """By layer."""
    import torch
    from torch.utils import _pytree

    from dni_async.network.building import layer_starts

    hidden = feed.few_samples()[:1]
    ends = {*layer_starts(network)[1:], len(network)}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for index, child in enumerate(network):
            hidden = child(hidden)
            if index + 1 in ends:
                values = _pytree.tree_leaves(hidden)
                shapes = [tuple(value.shape[1:]) for value in values if value.is_floating_point()]
                yield _Passing(shapes, isinstance(hidden, torch.Tensor))
