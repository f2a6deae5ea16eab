"""Losses that are given as objects, named as a run names them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], str]:
    """Puts a loss into a module and gives its name."""

    def put(loss: object) -> str:
        module = ModuleType("losses_of_a_test")
        module.loss = loss  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return f"{module.__name__}:loss"

    return put
