"""Opens the data of a run, whatever they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dni_async.config.run_config import RunConfig
    from dni_async.data.feed import Feed

__all__ = ["open_feed"]


def open_feed(config: RunConfig) -> Feed:
    """The data that config names. Raises DataError."""
    from dni_async.data.inputs import Inputs  # and torch, which a usage error need not wait for

    return Inputs.from_config(config)
