"""A run whose network would not fit is refused before it starts."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dni_async.errors import ConfigError
from dni_async.files.weights import TensorForm, WeightsForm
from dni_async.launcher.plan import room
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.plan.room import check_room

LAYER = WeightsForm({"0.weight": TensorForm("F32", (1024, 1024)), "0.n": TensorForm("I64", ())})
PLAN = cast(Plan, SimpleNamespace(layers=(LAYER, LAYER)))
NETWORK = 2 * (4 * 1024 * 1024 + 8)


def free(monkeypatch: pytest.MonkeyPatch, count: int, **others: Any) -> None:
    """As if the file system had so many bytes left."""
    status = SimpleNamespace(f_bavail=count, f_frsize=1, f_blocks=1, **others)
    monkeypatch.setattr(os, "statvfs", lambda place: status)


def test_the_size_of_what_layers_hold() -> None:
    assert LAYER.size_bytes == 4 * 1024 * 1024 + 8
    assert (
        WeightsForm({"a": TensorForm("BF16", (3,)), "b": TensorForm("BOOL", (2,))}).size_bytes == 8
    )


def test_a_full_disk_is_named_with_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_dir = tmp_path / "not" / "yet"
    check_room(PLAN, run_dir)
    free(monkeypatch, 2 * NETWORK + room.SPARE_BYTES)
    check_room(PLAN, run_dir)
    free(monkeypatch, 2 * NETWORK + room.SPARE_BYTES - 1)
    with pytest.raises(ConfigError, match=r"has room for 16\.1 MB, and .* needs 16\.1 MB"):
        check_room(PLAN, run_dir)
    monkeypatch.setattr(os, "statvfs", lambda place: SimpleNamespace(f_blocks=0))
    check_room(PLAN, run_dir)


def test_a_limit_of_a_files_size_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (NETWORK - 1, NETWORK - 1))
    with pytest.raises(ConfigError, match=r"model\.safetensors has 8\.0 MB; .* \(ulimit -f\)"):
        check_room(PLAN, tmp_path)
