"""A checkpoint whose shards are all there is recognised, and nothing else is taken for one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from dni_async.config.run_config import RunConfig
from dni_async.files import names
from dni_async.files.checkpoint import Manifest, ShardFile, find_newest, partial_folder, seal
from dni_async.files.shards import Shard, pack
from dni_async.files.writing import write_whole
from dni_async.launcher.report.results import EpochResult
from dni_async.launcher.run_folder.unsealed import unsealed, untold
from dni_async.wire.messages import BoundaryEpoch, EpochLoss, EpochTrained, Evaluated

RUN = {"rule": "dni", "num_layers": 3}
LAYERS = ({"0": 0, "1": 0}, {"2": 1, "3": 1, "4": 2})


def save(root: Path, batch_id: int, *, index: int = 5) -> Path:
    """Both stages' shards of the checkpoint before batch_id; the folder that they lie in."""
    folder = partial_folder(root, batch_id)
    for stage, layers in enumerate(LAYERS):
        facts = {"layers": layers, "cut": [batch_id, 2, index]}
        shard = Shard({"weights/0.weight": torch.full((4,), float(batch_id))}, facts)
        write_whole(folder / names.shard(stage), *pack(shard))
    return folder


def test_what_every_stage_has_saved_can_be_sealed_and_is_found(tmp_path: Path) -> None:
    save(tmp_path, 7)
    save(tmp_path, 9)
    newest, older = unsealed(tmp_path, RUN, 3)
    assert (newest.batch_id, newest.epoch, newest.index, older.batch_id) == (9, 2, 5, 7)
    assert [(shard.first_layer, shard.end_layer) for shard in newest.shards] == [(0, 1), (1, 3)]
    seal(tmp_path, newest)
    found = find_newest(tmp_path, RUN, pytest.fail)
    assert found == newest
    assert list(unsealed(tmp_path, RUN, 3)) == []  # what is older than a whole one is of no use


def lose(folder: Path) -> None:
    """The head was killed before its shard was on disk."""
    (folder / names.shard(1)).unlink()


def lose_the_first(folder: Path) -> None:
    """And so was the source."""
    (folder / names.shard(0)).unlink()


def leave_half(folder: Path) -> None:
    """The head was killed while it wrote."""
    (folder / names.shard(1)).rename(folder / f"{names.shard(1)}.part")


def truncate(folder: Path) -> None:
    """The disk lost the end of a file."""
    path = folder / names.shard(1)
    os.truncate(path, path.stat().st_size - 1)


def replace_by_garbage(folder: Path) -> None:
    """It is no shard."""
    (folder / names.shard(0)).write_bytes(b"garbage" * 9)


def mix(folder: Path) -> None:
    """One is of another cut."""
    other = save(folder.parent, 9, index=6)
    save(folder.parent, 9)
    lose_the_first(folder)
    write_whole(folder / names.shard(0), (other / names.shard(1)).read_bytes())


def misname(folder: Path) -> None:
    """The folder is another batch's."""
    folder.rename(folder.with_name("10.part"))


@pytest.mark.parametrize(
    "damage", [lose, lose_the_first, leave_half, truncate, replace_by_garbage, mix, misname]
)
def test_what_is_not_all_there_is_passed_over(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    save(tmp_path, 7)
    damage(save(tmp_path, 9))
    (manifest,) = unsealed(tmp_path, RUN, 3)
    assert manifest.batch_id == 7


def test_other_layers_are_another_network(tmp_path: Path) -> None:
    save(tmp_path, 7)
    assert list(unsealed(tmp_path, RUN, 4)) == []
    assert list(unsealed(tmp_path / "missing", RUN, 3)) == []


def test_what_stages_remember_of_epochs_that_nobody_wrote_down(tmp_path: Path) -> None:
    """All that is lost of one is null; none is left out, and what is known is not told anew."""
    boundary = BoundaryEpoch("run", 0, 4, 3, 0.5, 0.9, 0.4, 2, 7)
    words: list[list[Any]] = [
        [EpochTrained("run", 4, 1.5), boundary, EpochTrained("run", 6, 2.5)],
        [EpochLoss("run", 4, 0.25, 100), Evaluated("run", 4, 0.5, {"accuracy": 0.75}, 20)],
    ]
    folder = tmp_path / "60"
    for stage, told in enumerate(words):
        plain = [[type(word).__name__, asdict(word)] for word in told]
        facts = {"layers": LAYERS[stage], "cut": [60, 8, 0], "run": {"words": plain}}
        write_whole(folder / names.shard(stage), *pack(Shard({"a": torch.zeros(1)}, facts)))
    files = tuple(ShardFile(at, at + 1, 1, "") for at in range(2))
    config = RunConfig(epochs=20, evaluate_every=2)
    plan = cast("Any", SimpleNamespace(config=config))
    found = untold(plan, Manifest(60, 8, 0, {}, files, folder), {2})
    assert found.epochs == [
        EpochResult(4, 1.5, 0.25, 0.5, {"accuracy": 0.75}, 100, 20),
        EpochResult(6, 2.5, None, None, {}, 0, 0),
    ]
    assert found.boundaries == [boundary]


def test_a_checkpoint_behind_the_last_epoch_is_behind_all_that_are_tested(tmp_path: Path) -> None:
    """As --keep-best makes one."""
    write_whole(
        tmp_path / names.shard(0), *pack(Shard({}, {"layers": {}, "cut": [9, 4, 0], "run": {}}))
    )
    plan = cast("Any", SimpleNamespace(config=RunConfig(epochs=3, evaluate_every=2)))
    found = untold(plan, Manifest(9, 4, 0, {}, (ShardFile(0, 1, 1, ""),), tmp_path), {2})
    assert [epoch.epoch for epoch in found.epochs] == [3]
