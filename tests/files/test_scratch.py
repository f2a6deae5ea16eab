"""What those who were killed leave is gone with the folder that they used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dni_async.files import scratch
from dni_async.files.scratch import SCRATCH, make_scratch, remove_scratch, use_scratch

MAKER = """
import os, signal, tempfile
from pathlib import Path
from dni_async.files.scratch import use_scratch

use_scratch()
Path(f"/dev/shm/torch_{os.getpid()}_1_0").touch()
Path(tempfile.mkdtemp(), "socket").touch()
print(os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no shared memory by name")
def test_the_shared_memory_of_the_killed_goes_with_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv(SCRATCH, str(folder))
    maker = subprocess.run([sys.executable, "-c", MAKER], capture_output=True, text=True)
    segment = Path(f"/dev/shm/torch_{maker.stdout.strip()}_1_0")
    assert maker.returncode == -9, maker.stderr
    assert segment.exists()
    assert len(list(folder.iterdir())) == 2  # its mark, and its temporary folder
    other = Path(f"/dev/shm/torch_{maker.stdout.strip()}0_1_0")  # of a number that begins alike
    other.touch()
    try:
        remove_scratch(str(folder))
        assert not segment.exists()
        assert other.exists()
    finally:
        other.unlink()
    assert not folder.exists()
    remove_scratch(str(folder))  # by whom comes later


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no shared memory by name")
def test_who_lives_on_keeps_the_shared_memory_of_that_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_PARTING_S", 0.01)
    folder = tmp_path / "scratch"
    folder.mkdir()
    waits = [sys.executable, "-c", "input()"]
    with subprocess.Popen(waits, stdin=subprocess.PIPE) as stranger:
        (folder / f"makes-tensors-{stranger.pid}").touch()
        segment = Path(f"/dev/shm/torch_{stranger.pid}_1_0")
        segment.touch()
        try:
            remove_scratch(str(folder))
            assert segment.exists()
        finally:
            segment.unlink(missing_ok=True)
        stranger.communicate(b"\n")
    assert not folder.exists()


def test_without_a_folder_nothing_is_left_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SCRATCH, raising=False)
    monkeypatch.chdir(tmp_path)
    use_scratch()
    assert list(tmp_path.iterdir()) == []


def places(monkeypatch: pytest.MonkeyPatch, asked: Path | str, *others: Path) -> None:
    """TMPDIR, and where else folders may be made."""
    monkeypatch.setattr(tempfile, "tempdir", str(asked))
    monkeypatch.setattr(scratch, "_OTHERS", tuple(map(str, others)))


def short_folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that leaves room for the names of sockets."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    return Path(tempfile.mkdtemp(prefix="dni-test-"))


def test_a_folder_for_sockets_is_this_users_alone_and_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = short_folder(monkeypatch)
    places(monkeypatch, here)
    made = make_scratch()
    assert made.passed_over == ()
    assert Path(made.path).parent == here
    assert Path(made.path).stat().st_mode & 0o777 == 0o700
    assert list(Path(made.path).iterdir()) == []
    shutil.rmtree(here)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"x" * 90, "too long"),
        (b"\xff", "no UTF-8"),
        (None, "No such file"),
    ],
    ids=["long", "not UTF-8", "absent"],
)
def test_where_sockets_cannot_be_another_folder_is_taken(
    name: bytes | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, other = short_folder(monkeypatch), short_folder(monkeypatch)
    asked = here / os.fsdecode(name or b"absent")
    if name is not None:
        asked.mkdir()
    places(monkeypatch, asked, other)
    made = make_scratch()
    assert Path(made.path).parent == other
    (passed_over,) = made.passed_over
    assert passed_over[0] == str(asked)
    assert reason in passed_over[1]
    places(monkeypatch, asked)
    with pytest.raises(OSError, match=reason) as caught:
        make_scratch()
    assert caught.value.filename == str(asked)
    assert name is None or list(asked.iterdir()) == []
    for folder in (here, other):
        shutil.rmtree(os.fsencode(folder))
