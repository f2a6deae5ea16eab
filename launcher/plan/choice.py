"""Whether a run leaves open how its layers are grouped, and how many groups can work at once."""

from __future__ import annotations

from dni_async.config.run_config import RunConfig

__all__ = ["is_open", "num_places"]


def is_open(config: RunConfig, *, num_layers: int, num_stages: int, cores: int) -> bool:
    """Whether there is a choice: of how many stages, or of where to cut for fewer than layers."""
    if config.stages == "auto":
        return num_places(config, cores) < num_layers > 2
    return 1 < num_stages < num_layers and config.partition == "balanced"


def num_places(config: RunConfig, cores: int) -> int:
    """How many stages can work at once."""
    devices = set(config.devices)
    if devices != {"cpu"}:
        return len(devices)
    return max(1, cores // (config.threads_per_worker or 1))
