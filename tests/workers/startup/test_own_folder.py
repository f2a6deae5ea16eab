"""A worker from elsewhere has one folder, of its own, and leaves none behind for long."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from pathlib import Path

import pytest

from dni_async import ConfigError
from dni_async.workers.startup.own_folder import own_folder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files lie."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_this_users_alone_and_gone_afterwards(place: Path) -> None:
    with own_folder() as folder:
        assert [folder] == list(place.iterdir())
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "deep").mkdir()
    assert list(place.iterdir()) == []


def test_what_a_killed_worker_has_left_is_removed_and_what_one_works_in_is_not(
    place: Path,
) -> None:
    left, worked_in, file = (place / f"dni-worker-{name}" for name in ("a", "b", "c"))
    (left / "deep").mkdir(parents=True)
    worked_in.mkdir()
    file.write_text("a user's")
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    link = place / "dni-worker-d"
    link.symlink_to(elsewhere)
    lock = os.open(worked_in, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with own_folder() as folder:
            assert set(place.iterdir()) == {folder, worked_in, file, elsewhere, link}
    finally:
        os.close(lock)


def test_a_place_that_takes_nothing_is_one_sentence(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "missing"))
    sentence = r"TMPDIR: .* No such file or directory; name a folder"
    with pytest.raises(ConfigError, match=sentence), own_folder():
        pytest.fail("there is none")
