"""No process of a loader outlives the test that began it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.data.streams import kinds


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close all feeds of a test behind it: their processes hold what this one holds open."""
    yield
    while kinds.opened:
        kinds.opened.pop().close()
