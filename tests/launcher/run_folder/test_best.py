"""The checkpoint with the best network is known, and stays."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from dni_async.decisions.goal import Goal, Mode
from dni_async.files import names
from dni_async.files.checkpoint import Manifest, partial_folder, seal
from dni_async.files.writing import write_whole
from dni_async.launcher.run_folder import best as best_module
from dni_async.launcher.run_folder.best import Best, BestCheckpoint, forget_later, read_best
from dni_async.launcher.run_folder.checkpoints import CheckpointTerms, OpenCheckpoints
from dni_async.wire.messages import Saved
from tests.launcher.run_folder.at_once import AtOnce

GOAL = Goal("accuracy", "max")
FIGURES = {1: 0.5, 2: 0.9, 3: 0.7, 4: None, 5: 0.8}


def made(root: Path, epoch: int, index: int = 0) -> Manifest:
    """A checkpoint that is whole, before a batch of an epoch of ten batches."""
    batch_id = 10 * (epoch - 1) + index
    partial_folder(root, batch_id).mkdir(parents=True)
    manifest = Manifest(batch_id, epoch, index, {}, ())
    seal(root, manifest)
    return manifest


def kept(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name != names.BEST)


def test_the_best_of_the_tests_is_kept_and_no_other_moment(tmp_path: Path) -> None:
    best = BestCheckpoint(tmp_path, GOAL, FIGURES.get)
    for epoch, index, expected in (
        (2, 0, 1),
        (2, 5, 1),
        (3, 0, 2),
        (4, 0, 2),
        (5, 0, 2),
        (6, 0, 2),
    ):
        best.hear(made(tmp_path, epoch, index))
        assert best.best is not None
        assert best.best.epoch == expected
    assert read_best(tmp_path) == best.best == Best(2, "accuracy", "max", 0.9, 20)
    assert best.best is not None
    assert best.best.told()["folder"] == "checkpoints/20"


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_value_that_is_none_is_no_best(tmp_path: Path, mode: Mode) -> None:
    best = BestCheckpoint(tmp_path, Goal("x", mode), {1: float("nan"), 2: None}.get)
    for epoch in (2, 3, 4):
        best.hear(made(tmp_path, epoch))
    assert best.best is None
    assert read_best(tmp_path) is None


def opened(root: Path, best: BestCheckpoint) -> tuple[OpenCheckpoints, list[str]]:
    """The checkpoints of one stage, of which one stays, and what is noted of them."""
    said: list[str] = []
    terms = CheckpointTerms(run={}, num_layers=1, num_stages=1, keep=1)
    return (
        OpenCheckpoints(root, terms, AtOnce(), sync=lambda: None, note=said.append, best=best),
        said,
    )


def saved(root: Path, batch_id: int, epoch: int) -> Saved:
    """What the stage tells, whose shard is on disk."""
    write_whole(partial_folder(root, batch_id) / names.shard(0), b"shard")
    digest = hashlib.sha256(b"shard").hexdigest()
    return Saved("run", 0, batch_id, epoch, 0, 5, digest, "")


def test_it_is_not_pruned(tmp_path: Path) -> None:
    best = BestCheckpoint(tmp_path, GOAL, FIGURES.get)
    checkpoints, said = opened(tmp_path, best)
    for epoch, left in ((2, ["10"]), (3, ["20"]), (4, ["20", "30"]), (6, ["20", "50"])):
        batch_id = 10 * (epoch - 1)
        checkpoints.enter(saved(tmp_path, batch_id, epoch))
        assert kept(tmp_path) == left
    assert said == []


def test_where_it_cannot_be_noted_the_one_before_stays_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, *_content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    best = BestCheckpoint(tmp_path, GOAL, FIGURES.get)
    checkpoints, said = opened(tmp_path, best)
    for epoch in (2, 3):
        checkpoints.enter(saved(tmp_path, 10 * (epoch - 1), epoch))
        monkeypatch.setattr(best_module, "write_whole", full)
    reason = "No space left on device; training goes on"
    assert said == [f"checkpoint 20 is the best, but that cannot be kept: {reason}"]
    assert checkpoints.newest is not None
    assert checkpoints.newest.batch_id == 20
    assert kept(tmp_path) == ["10", "20"]
    assert read_best(tmp_path) == best.best == Best(1, "accuracy", "max", 0.5, 10)


def test_a_resumed_run_goes_on_with_the_best_before_it(tmp_path: Path) -> None:
    BestCheckpoint(tmp_path, GOAL, FIGURES.get).hear(made(tmp_path, 3))
    again = BestCheckpoint(tmp_path, GOAL, FIGURES.get)
    again.hear(made(tmp_path, 4))
    assert again.best is not None
    assert again.best.epoch == 2
    assert BestCheckpoint(tmp_path, Goal("loss", "min"), FIGURES.get).best is None
    assert forget_later(tmp_path, 30) == 20
    assert forget_later(tmp_path, 10) is None
    assert read_best(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"epoch": 1}', "null"])
def test_what_is_not_ours_is_no_best(tmp_path: Path, text: str) -> None:
    (tmp_path / names.BEST).write_text(text)
    assert read_best(tmp_path) is None
