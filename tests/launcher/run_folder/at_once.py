"""Errands that are done at once, where a run has a thread do them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dni_async.launcher.run_folder.errands import Errand

T = TypeVar("T")


class AtOnce:
    """A Runner."""

    def run(self, errand: Errand[T], done: Callable[[T | OSError], None]) -> None:
        """Do errand, and call done with what came of it."""
        try:
            outcome: T | OSError = errand()
        except OSError as error:
            outcome = error
        done(outcome)
