"""Files that come in parts are written where they belong, or the run hears why not."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.received_files import MAX_TRIES, ReceivedFiles, parts_of
from dni_async.wire.messages import MAX_PART_BYTES, FileHeard, FileKind, FilePart, Saved
from tests.launcher.run_folder.at_once import AtOnce

RUN = "run-1"
CONTENT = b"onetwosix"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Of a run that goes on."""
    folder = RunFolder(tmp_path / "run")
    folder.create("")
    return folder


def parts(kind: FileKind, batch_id: int = 0, content: bytes = CONTENT) -> list[FilePart]:
    """A file of stage 2 in parts of three bytes."""
    ends = range(3, len(content) + 1, 3)
    digest = hashlib.sha256(content).hexdigest()
    return [
        FilePart(
            RUN, 2, kind, batch_id, content[end - 3 : end], end == len(content), end - 3,
            digest if end == len(content) else "",
        )
        for end in ends
    ]  # fmt: skip


class Receiver:
    """What a run receives into folder; heard: what workers are answered, said: what users are."""

    def __init__(self, folder: RunFolder) -> None:
        self.heard: list[FileHeard] = []
        self.said: list[str] = []
        self.files = ReceivedFiles(folder, AtOnce(), self.said.append, has_shards=True)

    def enter(self, *parts: FilePart, incarnation: int = 0) -> None:
        for part in parts:
            self.files.enter(part, incarnation, self.heard.append)


def answer(kind: FileKind, *, again: bool = False) -> FileHeard:
    return FileHeard(RUN, kind, 0, again)


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
    receiver = Receiver(folder)
    *most, last = parts(kind, batch_id)
    receiver.enter(*most, incarnation=incarnation)
    assert not (folder.path / path).exists()
    receiver.enter(last, incarnation=incarnation)
    (written,) = [each for each in folder.path.rglob("*stage-2*") if each.is_file()]
    assert written.read_bytes() == CONTENT
    assert written == folder.path / path
    assert receiver.heard == ([] if kind == "shard" else [answer(kind)])
    assert receiver.said == []
    folder.close()


def test_what_nobody_asked_for_is_not_kept(folder: RunFolder) -> None:
    receiver = Receiver(folder)
    receiver.enter(*parts("events"))
    assert not folder.events.exists()
    assert receiver.heard == [answer("events")]  # and its sender need not wait
    receiver.files = ReceivedFiles(folder, AtOnce(), pytest.fail, has_shards=False)
    receiver.enter(*parts("shard", 7))
    assert not folder.checkpoints.exists()
    folder.close()


def test_a_file_with_a_part_that_was_lost_is_asked_for_again(folder: RunFolder) -> None:
    receiver = Receiver(folder)
    first, second, third = parts("weights")
    receiver.enter(first, third)
    assert receiver.heard == [answer("weights", again=True)]
    assert list(folder.weights.iterdir()) == []
    receiver.enter(first, second, second, third)
    assert receiver.heard[1:] == [answer("weights")]
    assert folder.stage_weights(2).read_bytes() == CONTENT
    assert receiver.said == []
    folder.close()


def test_one_that_never_comes_whole_is_told_in_the_end(folder: RunFolder) -> None:
    receiver = Receiver(folder)
    for _ in range(MAX_TRIES):
        receiver.enter(parts("weights")[0], parts("weights")[2])
    assert [each.again for each in receiver.heard] == [True] * (MAX_TRIES - 1) + [False]
    (sentence,) = receiver.said
    assert sentence == (
        "stage 2: its weights could not be kept: something of it was lost on the way"
    )
    folder.close()


def test_a_file_that_is_begun_anew_is_not_mixed_with_what_came_before(folder: RunFolder) -> None:
    """As by the replacement of a worker that died while it sent."""
    receiver = Receiver(folder)
    receiver.enter(*parts("weights", content=b"oldoldold")[:2])
    receiver.enter(*parts("weights"))
    assert folder.stage_weights(2).read_bytes() == CONTENT
    folder.close()


def test_a_shard_that_is_left_unfinished_leaves_nothing(folder: RunFolder) -> None:
    receiver = Receiver(folder)
    receiver.enter(*parts("shard", 7)[:2])
    receiver.enter(*parts("shard", 8))
    left = [path for path in folder.checkpoints.rglob("*") if path.is_file()]
    assert left == [folder.checkpoints / "8.part" / "stage-2.safetensors"]
    folder.close()


def test_what_was_begun_and_does_not_end_leaves_nothing(folder: RunFolder) -> None:
    folder.events.mkdir()
    receiver = Receiver(folder)
    receiver.enter(*parts("events")[:2])
    assert len(list(folder.events.iterdir())) == 1
    receiver.files.close()
    assert list(folder.events.iterdir()) == []
    folder.close()


def test_what_cannot_be_written_is_told_once_and_its_sender_does_not_wait(
    folder: RunFolder,
) -> None:
    folder.stage_weights(2).mkdir()
    (folder.stage_weights(2) / "in the way").touch()
    receiver = Receiver(folder)
    receiver.enter(*parts("weights"))
    assert receiver.heard == [answer("weights")]
    assert receiver.said == ["stage 2: its weights could not be kept: Is a directory"]
    assert os.listdir(folder.weights) == [folder.stage_weights(2).name]
    folder.close()


@pytest.mark.parametrize("is_blocked", [True, False])
def test_a_shard_that_did_not_come_is_no_part_of_a_checkpoint(
    folder: RunFolder, is_blocked: bool
) -> None:
    first, _, third = parts("shard", 7)
    if is_blocked:
        folder.checkpoints.write_text("in the way")
    receiver = Receiver(folder)
    receiver.enter(first, third)
    saved = Saved(RUN, 2, 7, 1, 0, 1, "hash", "")
    reason = "Not a directory" if is_blocked else "something of it was lost on the way"
    assert receiver.files.check(saved).reason in (reason, "File exists")
    assert receiver.files.check(saved).reason == ""
    assert receiver.heard == receiver.said == []  # what becomes of the checkpoint tells
    folder.close()


@pytest.mark.parametrize("size", [0, 1, MAX_PART_BYTES, MAX_PART_BYTES + 1, 3 * MAX_PART_BYTES])
def test_a_shard_is_sent_in_parts(tmp_path: Path, size: int) -> None:
    path = tmp_path / "shard"
    path.write_bytes(bytes(size))
    sent = list(parts_of(path, RUN, 2))
    assert b"".join(each.data for each in sent) == bytes(size)
    assert [each.is_last for each in sent] == [False] * (len(sent) - 1) + [True]
    assert [each.offset for each in sent] == [i * MAX_PART_BYTES for i in range(len(sent))]
    assert sent[-1].sha256 == hashlib.sha256(bytes(size)).hexdigest()
