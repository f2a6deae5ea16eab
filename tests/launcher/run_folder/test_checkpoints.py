"""A checkpoint is made when all stages have told of their part, and of whole parts alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dni_async.files import names
from dni_async.files.checkpoint import find_newest, partial_folder
from dni_async.files.writing import write_whole
from dni_async.launcher.run_folder.checkpoints import OpenCheckpoints
from dni_async.wire.messages import Saved

RUN = {"layers": 2}


def opened(root: Path, keep: int = 2) -> tuple[OpenCheckpoints, list[str]]:
    """The checkpoints of two stages, and what was called."""
    called: list[str] = []
    return (
        OpenCheckpoints(
            root, run=RUN, ranges=[(0, 1), (1, 2)], keep=keep, sync=lambda: called.append("sync")
        ),
        called,
    )


def saved(root: Path, batch_id: int, stage: int, reason: str = "") -> Saved:
    """What a stage tells whose shard is on disk."""
    content = f"{batch_id} {stage}".encode()
    write_whole(partial_folder(root, batch_id) / names.shard(stage), content)
    digest = hashlib.sha256(content).hexdigest()
    return Saved("run", stage, batch_id, 1, batch_id, len(content), digest, reason)


def test_it_is_whole_when_the_last_stage_has_told(tmp_path: Path) -> None:
    checkpoints, called = opened(tmp_path)
    assert checkpoints.enter(saved(tmp_path, 5, 1)) is None
    assert find_newest(tmp_path, RUN, pytest.fail) is None
    assert checkpoints.newest is None
    assert checkpoints.enter(saved(tmp_path, 5, 0)) is None
    assert called == ["sync"]
    assert checkpoints.newest == find_newest(tmp_path, RUN, pytest.fail)
    assert checkpoints.newest is not None
    assert checkpoints.newest.path(1).read_bytes() == b"5 1"


def test_two_may_be_under_way_and_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints, _ = opened(tmp_path, keep=2)
    for batch_id in (5, 6, 7):
        assert checkpoints.enter(saved(tmp_path, batch_id, 0)) is None
    for batch_id in (5, 6, 7):
        assert checkpoints.enter(saved(tmp_path, batch_id, 1)) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["6", "7"]


def test_a_part_that_is_not_there_costs_that_checkpoint_alone(tmp_path: Path) -> None:
    checkpoints, called = opened(tmp_path)
    assert checkpoints.enter(saved(tmp_path, 5, 0, "No space left on device")) is None
    assert (
        checkpoints.enter(saved(tmp_path, 5, 1)) == "checkpoint 5 was not made: stage 0: "
        "No space left on device; training goes on"
    )
    assert list(tmp_path.iterdir()) == []
    assert called == []
    assert checkpoints.enter(saved(tmp_path, 6, 0)) is None
    assert checkpoints.enter(saved(tmp_path, 6, 1)) is None
    assert checkpoints.newest is not None


def test_a_folder_that_is_gone_is_told_as_well(tmp_path: Path) -> None:
    checkpoints, _ = opened(tmp_path)
    told = [saved(tmp_path, 5, stage) for stage in range(2)]
    blocked = partial_folder(tmp_path, 5)
    for path in blocked.iterdir():
        path.unlink()
    blocked.rmdir()
    blocked.write_text("in the way")
    assert checkpoints.enter(told[0]) is None
    sentence = checkpoints.enter(told[1])
    assert sentence is not None
    assert sentence.startswith("checkpoint 5 was not made: ")
