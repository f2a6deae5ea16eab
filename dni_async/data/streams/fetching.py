"""Has the batches of a pass ready: fetched ahead in a thread, or made when they are asked for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

from torch.utils._pytree import tree_leaves

__all__ = ["Ended", "Failed", "Fetch", "fetch_ahead", "fetch_in_turn"]

_PARTING_S: Final = 2.0  # for a loader to end its processes; else they die with this one
_AHEAD: Final = range(4, 33)  # batches that lie ready, beside those that a loader's processes hold
_MOST_BYTES: Final = 1 << 28  # of these; a source takes up a window at once, where it is small


@dataclass(frozen=True, slots=True)
class Ended:
    """The pass is over."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The pass has raised; there is no more of it."""

    error: Exception


Fetch = Callable[[bool], Any]
"""The next batch, Ended or Failed; given False, None where that must be waited for."""


def fetch_in_turn(batches: Iterator[Any]) -> Fetch:
    """Makes each batch when it is asked for."""

    def fetch(waits: bool) -> Any:
        return _next(batches)

    return fetch


def fetch_ahead(
    batches: Generator[Any], wake: Callable[[], None]
) -> tuple[Fetch, Callable[[], None]]:
    """Fetches in a thread; also gives what ends that. wake: called when there is one more.

    The thread only takes what is there: what it calls neither draws at random nor computes much.
    """
    ready: queue.Queue[Any] = queue.Queue(_AHEAD[0])
    is_closed = threading.Event()

    def run() -> None:
        while not is_closed.is_set():
            item = _next(batches)
            ready.maxsize = _places(item)
            ready.put(item)
            wake()
            if isinstance(item, Ended | Failed):
                break
        batches.close()  # here and now, and the processes of a loader with it

    thread = threading.Thread(target=run, name="dni-data", daemon=True)
    thread.start()

    def fetch(waits: bool) -> Any:
        try:
            return ready.get(block=waits)
        except queue.Empty:
            return None

    def close() -> None:
        is_closed.set()
        while not ready.empty():  # it may wait for room
            ready.get_nowait()
        thread.join(_PARTING_S)

    return fetch, close


def _places(item: Any) -> int:
    """How many like item may lie ready."""
    size = sum(leaf.nbytes for leaf in tree_leaves(item) if hasattr(leaf, "nbytes"))
    return int(min(max(_MOST_BYTES // max(1, size), _AHEAD[0]), _AHEAD[-1]))


def _next(batches: Iterator[Any]) -> Any:
    try:
        return next(batches)
    except StopIteration:
        return Ended()
    except Exception as error:  # whatever the user's own code raises
        return Failed(error)
