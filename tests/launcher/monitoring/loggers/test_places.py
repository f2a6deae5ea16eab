"""Where MLflow and Weights & Biases are to be found, and what is said where they are not."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from dni_async import ConfigError
from dni_async.launcher.monitoring.loggers.mlflow import tracking_uri
from dni_async.launcher.monitoring.loggers.wandb import check_login, network_mode


def test_a_folder_is_where_the_database_is(tmp_path: Path) -> None:
    assert tracking_uri(str(tmp_path)) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri(f"file://{tmp_path}") == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri("postgresql://host/name") == "postgresql://host/name"
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"mlflow: .* is a file; name a folder"):
        tracking_uri(str(tmp_path / "file"))


def test_a_server_that_is_not_there_is_found_before_the_run() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert tracking_uri(f"http://127.0.0.1:{port}") == f"http://127.0.0.1:{port}"
    with pytest.raises(ConfigError, match="mlflow: nothing answers at"):
        tracking_uri(f"http://127.0.0.1:{port}")


def test_the_network_is_switched_as_the_library_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert network_mode() == "online"
    (tmp_path / "settings").write_text("[default]\nmode = disabled\n")
    assert network_mode() == "disabled"
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert network_mode() == "offline"
    monkeypatch.setenv("WANDB_MODE", "online")  # which counts for more than a file
    assert network_mode() == "online"


def test_who_is_not_logged_in_is_not_asked_in_the_midst_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"wandb: nobody is logged in at api\.wandb\.ai"):
        check_login()
    with monkeypatch.context() as offline:
        offline.setenv("WANDB_MODE", "offline")
        check_login()
    with monkeypatch.context() as known:
        known.setenv("WANDB_API_KEY", "0" * 40)
        check_login()
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password 0\n")
    check_login()
