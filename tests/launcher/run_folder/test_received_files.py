"""Files that come in parts are written where they belong, or the run hears why not."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.received_files import ReceivedFiles, marked_folder, parts_of
from dni_async.wire.messages import MAX_PART_BYTES, FileKind, FilePart, Saved

RUN = "run-1"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Of a run that goes on."""
    folder = RunFolder(tmp_path / "run")
    folder.create("")
    return folder


def part(kind: FileKind, data: bytes, *, is_last: bool, batch_id: int = 0) -> FilePart:
    """Of stage 2."""
    return FilePart(RUN, 2, kind, batch_id, data, is_last)


@pytest.mark.parametrize(
    ("kind", "batch_id", "incarnation", "path"),
    [
        ("weights", 0, 0, "weights/stage-2.safetensors"),
        ("shard", 7, 0, "checkpoints/7.part/stage-2.safetensors"),
        ("profile", 0, 1, "profile/stage-2.json"),
        ("torch-profile", 0, 1, "profile/torch-stage-2.json"),
        ("events", 0, 0, "events/stage-2.jsonl"),
        ("events", 0, 3, "events/stage-2.3.jsonl"),
    ],
)
def test_files_lie_where_they_belong(
    folder: RunFolder, kind: FileKind, batch_id: int, incarnation: int, path: str
) -> None:
    folder.make_profile()
    folder.events.mkdir()
    received = ReceivedFiles(folder)
    assert received.enter(part(kind, b"one", is_last=False, batch_id=batch_id), incarnation) is None
    assert not list(folder.path.rglob("stage-2*.safetensors"))
    assert received.enter(part(kind, b"two", is_last=True, batch_id=batch_id), incarnation) is None
    (written,) = [each for each in folder.path.rglob("*stage-2*") if each.is_file()]
    assert written.read_bytes() == b"onetwo"
    assert written == folder.path / path or kind == "shard"
    folder.close()


def test_what_nobody_asked_for_is_not_kept(folder: RunFolder) -> None:
    received = ReceivedFiles(folder)
    assert received.enter(part("events", b"x", is_last=True), 0) is None
    assert not folder.events.exists()
    folder.close()


def test_a_shard_that_cannot_be_written_is_no_part_of_a_checkpoint(folder: RunFolder) -> None:
    folder.checkpoints.write_text("in the way")
    received = ReceivedFiles(folder)
    sentence = received.enter(part("shard", b"x", is_last=False, batch_id=7), 0)
    assert sentence is not None
    assert sentence.startswith("stage 2: its shard could not be written: ")
    assert received.enter(part("shard", b"x", is_last=True, batch_id=7), 0) is None  # told once
    saved = Saved(RUN, 2, 7, 1, 0, 1, "hash", "")
    assert received.check(saved).reason != ""
    assert received.check(saved).reason == ""
    folder.close()


@pytest.mark.parametrize("size", [0, 1, MAX_PART_BYTES, MAX_PART_BYTES + 1, 3 * MAX_PART_BYTES])
def test_a_shard_is_sent_in_parts(tmp_path: Path, size: int) -> None:
    path = tmp_path / "shard"
    path.write_bytes(bytes(size))
    parts = list(parts_of(path, RUN, 2))
    assert b"".join(each.data for each in parts) == bytes(size)
    assert [each.is_last for each in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) == max(1, -(-size // MAX_PART_BYTES))


def test_the_mark_is_for_this_user_alone(folder: RunFolder) -> None:
    mark = folder.path / "run-id"
    with marked_folder(folder, RUN):
        assert mark.read_text() == RUN
        assert stat.S_IMODE(mark.stat().st_mode) == 0o600
    assert not mark.exists()
    folder.close()
