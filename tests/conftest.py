"""What all tests share ends with them."""

from __future__ import annotations

from tests.forked import end_zygote


def pytest_sessionfinish() -> None:
    """The process that commands were forked from goes last."""
    end_zygote()
