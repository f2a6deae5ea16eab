"""Paths in a home folder are whole paths, or one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from dni_async.errors import ConfigError
from dni_async.files.homes import cache_folder, own_path


def homeless(*_: object) -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_a_path_in_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert own_path("~/runs", setting="data_dir") == Path("/home/me/runs")
    assert own_path("runs", setting="data_dir") == Path("runs")
    assert cache_folder(lambda name: Path("/cache", name), holds="mnist") == Path(
        "/cache/dni-async"
    )


def test_without_a_home_folder_the_setting_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"data_dir: ~nobody-of-that-name/x lies in a home folder"
    ):
        own_path("~nobody-of-that-name/x", setting="data_dir")
    with pytest.raises(ConfigError, match=r"mnist is kept in the home folder.*--data-dir"):
        cache_folder(homeless, holds="mnist")
