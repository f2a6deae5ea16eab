"""What its own place does not take is elsewhere, where nobody else can have put it."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from safetensors import SafetensorError

from dni_async.files.elsewhere import clear_elsewhere, elsewhere, found, write_somewhere


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the test's own."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def refusing(tmp_path: Path) -> Path:
    """A path that cannot be written: its folder is a file."""
    (tmp_path / "run").write_text("")
    return tmp_path / "run" / "report.json"


def test_what_its_place_takes_is_there(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert write_somewhere(path, lambda part: part.write_text("all")) == (path, "")
    assert found(path) == path
    assert not elsewhere(path).parent.exists()


def test_what_it_does_not_take_is_found_and_nobody_elses(refusing: Path) -> None:
    place, why = write_somewhere(refusing, lambda part: part.write_text("all"))
    assert (place, why) == (elsewhere(refusing), "Not a directory")
    assert found(refusing) == place
    assert place.read_text() == "all"
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert list(place.parent.iterdir()) == [place]
    clear_elsewhere(refusing)
    assert found(refusing) == refusing
    assert not place.parent.exists()


def test_files_of_one_folder_lie_together_and_those_of_others_apart(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    one, other = tmp_path / "run" / "a", tmp_path / "link" / "b"
    assert elsewhere(one).parent == elsewhere(other).parent
    assert elsewhere(tmp_path / "a").parent != elsewhere(one).parent


@pytest.mark.parametrize("harm", ["a folder that others can write to", "a link", "a file"])
def test_a_place_that_others_may_have_made_is_not_used(
    refusing: Path, tmp_path: Path, harm: str
) -> None:
    place = elsewhere(refusing).parent
    match harm:
        case "a folder that others can write to":
            place.mkdir()
            os.chmod(place, 0o777)
        case "a link":
            (tmp_path / "theirs").mkdir(mode=0o700)
            place.symlink_to(tmp_path / "theirs")
        case _:
            place.write_text("")
    if place.is_dir():
        (place / refusing.name).write_text("theirs")
    assert found(refusing) == refusing
    with pytest.raises(NotADirectoryError):  # of the first try
        write_somewhere(refusing, lambda part: part.write_text("all"))
    clear_elsewhere(refusing)
    assert os.path.lexists(place)


def test_what_tensors_cannot_be_written_for_is_said_as_the_system_says_it(tmp_path: Path) -> None:
    def fail(part: Path) -> None:
        raise SafetensorError("Error while serializing: I/O error: full (os error 28)")

    with pytest.raises(OSError, match="No space left on device"):
        write_somewhere(tmp_path / "model", fail)
