"""What was found of networks that are split, kept for as long as one plan is made.

A plan makes the same network a dozen times, and to record it takes many times as long.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["kept", "recordings_kept"]

_kept: ContextVar[dict[Hashable, Any] | None] = ContextVar("kept", default=None)


@contextmanager
def recordings_kept() -> Iterator[None]:
    """In here, networks of one name, split and shape of samples are recorded once.

    So nobody may come to mean another network by the name meanwhile.
    """
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def kept() -> dict[Hashable, Any]:
    """What is kept, by who it is of; outside of recordings_kept nothing is for long."""
    found = _kept.get()
    return {} if found is None else found
