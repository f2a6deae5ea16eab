"""How many batches lie ready, and that what ends a pass comes behind them."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest
import torch

from dni_async.data.streams.fetching import Ended, Failed, fetch_ahead


@pytest.mark.parametrize(("numbers", "most"), [(1, 34), (1 << 26, 6)])
def test_small_batches_lie_ready_by_the_window_and_large_ones_by_a_few(
    numbers: int, most: int
) -> None:
    """Beside those that lie ready, one has been taken and one waits for room."""
    asked: list[int] = []
    batch = (torch.empty(0).expand(0), torch.empty(1).expand(numbers)), None

    def batches() -> Generator[Any]:
        for number in range(100):
            asked.append(number)
            if len(asked) == most:
                is_last.set()
            yield batch

    is_last = threading.Event()
    fetch, close = fetch_ahead(batches(), lambda: None)
    assert fetch(True) is batch
    assert is_last.wait(10)
    close()
    assert len(asked) == most


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
