"""A checkpoint is made of parts that were read back, and only then are older ones removed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from dni_async.files import names
from dni_async.files.checkpoint import find_newest, partial_folder
from dni_async.files.writing import write_whole
from dni_async.launcher.run_folder.checkpoints import CheckpointTerms, OpenCheckpoints
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.received_files import ReceivedFiles
from dni_async.wire.messages import FilePart, Saved
from tests.launcher.run_folder.at_once import AtOnce

RUN = {"layers": 2}


def opened(root: Path, keep: int = 2) -> tuple[OpenCheckpoints, list[str]]:
    """The checkpoints of two stages; that the metrics were synced, and what was noted."""
    called: list[str] = []
    terms = CheckpointTerms(RUN, 2, 2, keep)
    opened = OpenCheckpoints(
        root, terms, AtOnce(), sync=lambda: called.append("sync"), note=called.append
    )
    return opened, called


def saved(root: Path, batch_id: int, stage: int, reason: str = "") -> Saved:
    """What a stage tells whose shard is on disk."""
    content = f"{batch_id} {stage}".encode()
    write_whole(partial_folder(root, batch_id) / names.shard(stage), content)
    digest = hashlib.sha256(content).hexdigest()
    return Saved(
        "run", stage, batch_id, 1, batch_id, len(content), digest, reason, stage, stage + 1
    )


def test_it_is_whole_when_the_last_stage_has_told(tmp_path: Path) -> None:
    checkpoints, called = opened(tmp_path)
    checkpoints.enter(saved(tmp_path, 5, 1))
    assert find_newest(tmp_path, RUN, pytest.fail) is None
    assert checkpoints.newest is None
    checkpoints.enter(saved(tmp_path, 5, 0))
    assert called == ["sync"]
    assert checkpoints.newest == find_newest(tmp_path, RUN, pytest.fail)
    assert checkpoints.newest is not None
    assert checkpoints.newest.path(1).read_bytes() == b"5 1"


def test_two_may_be_under_way_and_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints, called = opened(tmp_path, keep=2)
    for batch_id in (5, 6, 7):
        checkpoints.enter(saved(tmp_path, batch_id, 0))
    for batch_id in (5, 6, 7):
        checkpoints.enter(saved(tmp_path, batch_id, 1))
    assert called == ["sync"] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["6", "7"]


def test_a_part_that_is_not_there_costs_that_checkpoint_alone(tmp_path: Path) -> None:
    checkpoints, called = opened(tmp_path)
    checkpoints.enter(saved(tmp_path, 5, 0, "No space left on device"))
    checkpoints.enter(saved(tmp_path, 5, 1))
    assert called == [
        "checkpoint 5 was not made: stage 0: No space left on device; training goes on"
    ]
    assert list(tmp_path.iterdir()) == []
    checkpoints.enter(saved(tmp_path, 6, 0))
    checkpoints.enter(saved(tmp_path, 6, 1))
    assert checkpoints.newest is not None


def truncate(path: Path) -> None:
    """Drop the last byte."""
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "the part of stage 0 has 2 bytes on disk, needs 3"),
        (lambda path: path.write_bytes(b"x x"), "the part of stage 0 is not on disk as it was"),
        (Path.unlink, "the part of stage 0 cannot be read back: No such file or directory"),
    ],
)
def test_what_is_not_on_disk_as_it_was_told_is_no_checkpoint_and_removes_none(
    tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    checkpoints, called = opened(tmp_path, keep=1)
    for stage in range(2):
        checkpoints.enter(saved(tmp_path, 5, stage))
    told = [saved(tmp_path, 6, stage) for stage in range(2)]
    damage(partial_folder(tmp_path, 6) / names.shard(0))
    for each in told:
        checkpoints.enter(each)
    found = find_newest(tmp_path, RUN, pytest.fail)
    assert found is not None
    assert found.batch_id == 5
    assert checkpoints.newest == found
    assert called[1].startswith(f"checkpoint 6 was not made: {reason}")
    assert [path.name for path in tmp_path.iterdir()] == ["5"]


def test_a_folder_that_is_gone_is_told_as_well(tmp_path: Path) -> None:
    checkpoints, called = opened(tmp_path)
    told = [saved(tmp_path, 5, stage) for stage in range(2)]
    blocked = partial_folder(tmp_path, 5)
    for path in blocked.iterdir():
        path.unlink()
    blocked.rmdir()
    blocked.write_text("in the way")
    for each in told:
        checkpoints.enter(each)
    assert len(called) == 1
    assert called[0].startswith("checkpoint 5 was not made: ")


PART_BYTES = 4


def parts(stage: int, batch_id: int, content: bytes) -> list[FilePart]:
    """A shard on its way, in parts of four bytes."""
    return [
        FilePart(
            run_id="run",
            stage=stage,
            kind="shard",
            batch_id=batch_id,
            data=content[offset : offset + PART_BYTES],
            is_last=offset + PART_BYTES >= len(content),
            offset=offset,
            sha256=hashlib.sha256(content).hexdigest()
            if offset + PART_BYTES >= len(content)
            else "",
        )
        for offset in range(0, len(content), PART_BYTES)
    ]


def test_parts_that_are_lost_or_repeated_never_make_a_checkpoint_that_does_not_load(
    tmp_path: Path,
) -> None:
    """Of a run whose workers send their shards over bad links: the newest one always loads."""
    random_ = random.Random(11)
    folder = RunFolder(tmp_path / "run")
    folder.create("")
    checkpoints, called = opened(folder.checkpoints, keep=2)
    received = ReceivedFiles(folder, AtOnce(), pytest.fail, has_shards=True)
    whole: list[int] = []
    for batch_id in range(300):
        was_hurt = False
        for stage in range(2):
            content = random_.randbytes(random_.randrange(1, 40))
            way = parts(stage, batch_id, content)
            if random_.random() < 0.4:
                del way[random_.randrange(len(way))]
                was_hurt = True
            if way and random_.random() < 0.4:
                at = random_.randrange(len(way))
                way.insert(at, way[at])  # twice, which does no harm by itself
            for part in way:
                received.enter(part, 0, pytest.fail)
            digest = hashlib.sha256(content).hexdigest()
            told = Saved(
                "run", stage, batch_id, 1, batch_id, len(content), digest, "", stage, stage + 1
            )
            checkpoints.enter(received.check(told))
        if not was_hurt:
            whole.append(batch_id)
        found = find_newest(folder.checkpoints, RUN, pytest.fail)
        assert (None if found is None else found.batch_id) == (whole[-1] if whole else None)
    assert 50 < len(whole) < 150
    assert sum("was not made" in each for each in called) == 300 - len(whole)
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == sorted(
        map(str, whole[-2:])
    )
    folder.close()


def test_what_a_worker_is_told_to_start_from_stays_until_it_has_started(tmp_path: Path) -> None:
    checkpoints, _ = opened(tmp_path, keep=1)

    def made(batch_id: int) -> set[str]:
        for stage in (0, 1):
            checkpoints.enter(saved(tmp_path, batch_id, stage))
        return {path.name for path in tmp_path.iterdir()}

    made(5)
    assert checkpoints.newest is not None
    checkpoints.lend(1, checkpoints.newest.path(1))
    assert made(6) == {"5", "6"}
    checkpoints.take_back(1)
    assert made(7) == {"7"}
