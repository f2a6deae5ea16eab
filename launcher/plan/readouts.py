"""Which boundaries a critic cannot serve, as a sample has too many outputs to be read there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dni_async.config.run_config import RunConfig
from dni_async.data.feed import Feed
from dni_async.errors import ConfigError

__all__ = ["note_readouts"]


def note_readouts(
    config: RunConfig,
    feed: Feed,
    ranges: Sequence[tuple[int, int]],
    output_shape: tuple[int, ...],
) -> list[str]:
    """A sentence on boundaries that get another synthesizer than the critic; none where none do.

    Raises ConfigError where the rule goes with a critic alone.
    """
    traits = config.rule_traits
    is_asked = config.synthesizer == "critic" and traits.needs_synthesizer
    if not is_asked or math.prod(output_shape) == 0:
        return []
    from dni_async.stage.losses.catalog import run_loss
    from dni_async.stage.losses.readout import MAX_OUTPUTS, readout_of

    loss = run_loss(config, feed.facts.form, output_shape)
    if loss.readout_size <= MAX_OUTPUTS:
        return []
    ends = [end for _, end in ranges[:-1]]
    unread = [
        layer
        for layer, shapes in enumerate(_shapes(config, feed), start=1)
        if layer in ends and any(readout_of(shape, loss) is None for shape in shapes)
    ]
    if not unread:
        return []
    said = f"{loss.readout_size:,} outputs a sample are too many to be read out above layers "
    said += ", ".join(str(layer - 1) for layer in unread)
    if traits.needs_labels:
        raise ConfigError(
            f"synthesizer: {said}, but rule {config.rule} learns from such readouts alone; take "
            "--rule dni with --targets bootstrap, or fdg"
        )
    return [f"{said}: there a synthesizer predicts that returned gradients alone teach"]


def _shapes(config: RunConfig, feed: Feed) -> Iterator[list[tuple[int, ...]]]:
    """Of what each layer gives: the shapes of one sample of its values."""
    import torch
    from torch.utils import _pytree

    from dni_async.network.building import build_network, layer_starts

    facts = feed.facts
    network = build_network(config, facts.input_shape, facts.form.output_shape).eval()
    hidden = feed.few_samples()[:1]
    ends = {*layer_starts(network)[1:], len(network)}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for index, child in enumerate(network):
            hidden = child(hidden)
            if index + 1 in ends:
                values = _pytree.tree_leaves(hidden)
                yield [tuple(value.shape[1:]) for value in values if value.is_floating_point()]
