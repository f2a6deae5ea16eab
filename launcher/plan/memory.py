"""Which order in memory the run's convolutions have, where its user leaves that open."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress

from dni_async.config.run_config import RunConfig
from dni_async.data.feed import DataFacts
from dni_async.errors import ConfigError

__all__ = ["settle_memory_format"]


def settle_memory_format(
    config: RunConfig,
    facts: DataFacts,
    devices: Sequence[str],
    attempt: Callable[[RunConfig], None],
) -> RunConfig:
    """config with a memory_format that attempt(config), a trial of the stages, takes.

    devices: of the stages. "auto" is channels last where that helps and goes. Raises what attempt
    raises, and ConfigError where channels last was asked for and nothing else goes wrong.
    """
    rows = dataclasses.replace(config, memory_format="contiguous")
    if config.memory_format == "auto":
        if _may_help(config, facts, devices):
            faster = dataclasses.replace(config, memory_format="channels-last")
            with suppress(ConfigError):
                attempt(faster)
                return faster
        config = rows
    try:
        attempt(config)
    except ConfigError as error:
        if config is rows:
            raise
        attempt(rows)  # what fails either way is told as it is
        raise ConfigError(
            "memory_format: the network does not take channels-last; use auto, or reshape where it "
            f"has a view of the memory ({error})"
        ) from error
    return config


def _may_help(config: RunConfig, facts: DataFacts, devices: Sequence[str]) -> bool:
    """A rule that is exact equals a plain loop to the bit, which channels last do not."""
    if config.model is None or config.rule_traits.is_exact:
        return False
    if any(not device.startswith("cpu") for device in devices):
        return False
    from dni_async.network.building import build_network
    from dni_async.stage.graphs.memory import has_maps

    return has_maps(build_network(config, facts.input_shape, facts.form.output_shape))
