"""Key folders: made for one user alone, and what is wrong with one is named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dni_async import ConfigError
from dni_async.transport.keys import read_keys, write_keys
from dni_async.transport.rings import make_key_pair


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of keys."""
    path = tmp_path / "ring"
    write_keys(path, coordinator=make_key_pair(), worker=make_key_pair())
    return path


def test_both_sides_read_one_folder(folder: Path) -> None:
    coordinator, worker = read_keys(folder, "coordinator"), read_keys(folder, "worker")
    assert coordinator.own.public == worker.coordinator == coordinator.coordinator
    assert coordinator.allowed == worker.allowed == {worker.own.public}
    assert len({coordinator.own.secret, worker.own.secret, *coordinator.allowed}) == 3


def test_a_worker_needs_no_secret_of_the_coordinator(folder: Path) -> None:
    (folder / "coordinator.secret").unlink()
    read_keys(folder, "worker")


def test_nobody_else_may_read_them(folder: Path) -> None:
    modes = {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, folder / "allowed")} == {0o700}


def test_keys_are_never_overwritten(folder: Path) -> None:
    before = (folder / "worker.secret").read_bytes()
    with pytest.raises(
        ConfigError, match=r"keys: .*ring: cannot be made: File exists; name a new folder"
    ):
        write_keys(folder, coordinator=make_key_pair(), worker=make_key_pair())
    assert (folder / "worker.secret").read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "worker.secret").chmod(0o640), "is not this user's alone"),
        (lambda folder: (folder / "worker.secret").unlink(), "cannot be read: No such file"),
        (lambda folder: (folder / "worker.secret").write_text("short\n"), "holds no key"),
        (lambda folder: (folder / "coordinator.public").write_bytes(b"\xff" * 40), "holds no key"),
        (lambda folder: (folder / "coordinator.public").write_text("x" * 4000), "holds no key"),
        (lambda folder: (folder / "allowed" / "worker.public").unlink(), "names nobody"),
    ],
)
def test_what_is_wrong_is_named(
    folder: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(folder)
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_keys(folder, "worker")


@pytest.mark.parametrize("name", ["", "allowed", "allowed/worker.public", "coordinator.public"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_what_others_can_change_lets_nobody_in(folder: Path, name: str, mode: int) -> None:
    path = folder / name
    path.chmod(path.stat().st_mode | mode)
    with pytest.raises(ConfigError, match=re.escape(f"keys: {path} can be changed by others")):
        read_keys(folder, "coordinator")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to give files away")
@pytest.mark.parametrize("name", ["", "allowed", "allowed/other.public", "worker.public"])
def test_a_key_of_another_user_lets_nobody_in(folder: Path, name: str) -> None:
    """Also where a folder is theirs, or takes what anybody puts there."""
    (folder / "allowed" / "other.public").write_bytes(make_key_pair().public)
    (folder / "allowed" / "other.public").chmod(0o644)
    read_keys(folder, "coordinator")
    os.chown(folder / name, 12345, 12345)
    with pytest.raises(
        ConfigError, match=re.escape(f"keys: {folder / name} belongs to user 12345")
    ):
        read_keys(folder, "coordinator")


def test_a_folder_like_tmp_will_do_but_not_for_the_allowed(folder: Path) -> None:
    """As volumes have it: others may put files there, which are looked at, and replace none."""
    folder.chmod(0o1777)
    read_keys(folder, "coordinator")
    (folder / "allowed").chmod(0o1777)
    with pytest.raises(ConfigError, match=r"allowed can be changed by others \(mode 1777\)"):
        read_keys(folder, "coordinator")


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "allowed" / "pipe.public", 0o600)
    with pytest.raises(ConfigError, match=r"pipe.public holds no key"):
        read_keys(folder, "coordinator")
