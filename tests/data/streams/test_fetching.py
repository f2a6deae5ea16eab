"""How many batches lie ready, and that what ends a pass comes behind them."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest
import torch

from dni_async.data.streams.fetching import Ended, Failed, fetch_ahead


@pytest.mark.parametrize(("numbers", "most"), [(1, 33), (1 << 26, 6)])
def test_small_batches_lie_ready_by_the_window_and_large_ones_by_a_few(
    numbers: int, most: int
) -> None:
    """One more than lies ready is in the hands of who waits for room."""
    asked: list[int] = []
    batch = (torch.empty(0).expand(0), torch.empty(1).expand(numbers)), None

    def batches() -> Generator[Any]:
        for number in range(100):
            asked.append(number)
            yield batch

    is_there = threading.Event()
    fetch, close = fetch_ahead(batches(), is_there.set)
    assert fetch(True) is batch
    while len(asked) < most:
        assert is_there.wait(10)
        is_there.clear()
    close()
    assert len(asked) <= most + 2


def test_behind_the_last_batch_comes_what_ended_the_pass() -> None:
    def batches(error: Exception | None) -> Generator[Any]:
        yield "batch"
        if error is not None:
            raise error

    for error, kind in ((None, Ended), (ValueError("mine"), Failed)):
        fetch, close = fetch_ahead(batches(error), lambda: None)
        assert fetch(True) == "batch"
        assert isinstance(fetch(True), kind)
        close()
