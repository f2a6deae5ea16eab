"""Where a network of the user's own is cut into layers, settled before any process starts."""

from __future__ import annotations

import dataclasses

from dni_async.config.extensions import is_extension
from dni_async.config.run_config import RunConfig
from dni_async.data.feed import DataFacts

__all__ = ["split_network"]

FEW = 6  # names that one line shows


def split_network(config: RunConfig, facts: DataFacts) -> tuple[RunConfig, list[str]]:
    """The settings with split as the names of modules, and what to say of it.

    So all processes cut at the same places. Raises ConfigError where the network cannot be split.
    """
    if config.model is None or not is_extension(config.model):
        return config, []
    from dni_async.network.building import build_network
    from dni_async.network.split.parts import Chain

    network = build_network(config, facts.input_shape, facts.form.output_shape)
    if not isinstance(network, Chain):
        return config, []
    points = network.points
    note = "split: the network stays in one layer"
    if points:
        shown = ", ".join(points[:FEW]) + (", ..." if len(points) > FEW else "")
        how = " (auto)" if config.split in ((), ("auto",)) else ""
        note = f"split: {len(points) + 1} layers{how}, from {shown} on"
    return dataclasses.replace(config, split=points), [note]
