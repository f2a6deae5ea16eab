"""Checkpoints as files: the newest whole one is found, whatever happened to the others and when."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dni_async.files import names
from dni_async.files.checkpoint import (
    Manifest,
    ShardFile,
    drop_partial,
    find_newest,
    partial_folder,
    prune,
    seal,
)
from dni_async.files.writing import write_whole
from tests.marked_process import outcome

RUN = {"layers": 2, "rule": "dni"}


def make(root: Path, batch_id: int) -> Path:
    """A whole checkpoint of two shards."""
    shards = []
    for stage in range(2):
        content = f"{batch_id}/{stage}".encode() * 50
        write_whole(partial_folder(root, batch_id) / names.shard(stage), content)
        digest = hashlib.sha256(content).hexdigest()
        shards.append(ShardFile(stage, stage + 1, len(content), digest))
    return seal(root, Manifest(batch_id, 1, batch_id, RUN, tuple(shards)))


def newest(root: Path) -> tuple[int | None, list[str]]:
    """The batch id of the newest whole checkpoint, and the complaints about others."""
    refused: list[str] = []
    found = find_newest(root, RUN, refused.append)
    return None if found is None else found.batch_id, refused


def test_what_is_sealed_is_found_as_it_was(tmp_path: Path) -> None:
    folder = make(tmp_path, 9)
    make(tmp_path, 10)
    found = find_newest(tmp_path, RUN, pytest.fail)
    assert found is not None
    assert (found.batch_id, found.epoch, found.index, found.run) == (10, 1, 10, RUN)
    assert [(s.first_layer, s.end_layer) for s in found.shards] == [(0, 1), (1, 2)]
    assert found.path(1).read_bytes() == b"10/1" * 50
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "stage-0.safetensors",
        "stage-1.safetensors",
    ]


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert newest(tmp_path / "missing") == (None, [])


def flip(path: Path) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    """Drop the last byte."""
    path.write_bytes(path.read_bytes()[:-1])


def edit(**changes: object) -> Callable[[Path], None]:
    """Change what a manifest says."""

    def change(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("name", "damage", "complaint"),
    [
        ("stage-1.safetensors", flip, "stage-1.safetensors: is damaged"),
        ("stage-1.safetensors", truncate, "stage-1.safetensors: has 199 bytes, needs 200"),
        ("stage-0.safetensors", Path.unlink, "stage-0.safetensors: cannot be read: No such file"),
        ("manifest.json", Path.unlink, "manifest.json: cannot be read: No such file"),
        ("manifest.json", truncate, "manifest.json: is no manifest"),
        ("manifest.json", lambda path: path.write_text("[]"), "manifest.json: is no manifest"),
        ("manifest.json", lambda path: path.write_bytes(b"\xff"), "manifest.json: is no manifest"),
        ("manifest.json", edit(format=2), "manifest.json: is of another format than 1"),
        ("manifest.json", edit(batch_id=4), "manifest.json: is of checkpoint 4"),
        ("manifest.json", edit(shards=[{}]), "manifest.json: is no manifest"),
        (
            "manifest.json",
            edit(run={"layers": 3}),
            "20: is of another run: its layers is 3, here it is 2",
        ),
    ],
)
def test_a_damaged_or_foreign_one_is_named_and_the_one_before_is_taken(
    tmp_path: Path, name: str, damage: Callable[[Path], object], complaint: str
) -> None:
    make(tmp_path, 10)
    damage(make(tmp_path, 20) / name)
    found, refused = newest(tmp_path)
    assert found == 10
    assert len(refused) == 1
    assert complaint in refused[0]
    make(tmp_path, 20)  # made again, it takes the place of the damaged one
    assert newest(tmp_path) == (20, [])


def test_the_newest_are_kept_and_those_that_the_run_went_back_past_are_not(tmp_path: Path) -> None:
    for batch_id in (2, 10, 9, 30):
        make(tmp_path, batch_id)
    prune(tmp_path, 2, newest=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "9"]


def test_what_was_begun_is_dropped_when_nobody_is_at_it(tmp_path: Path) -> None:
    make(tmp_path, 1)
    write_whole(partial_folder(tmp_path, 2) / names.shard(0), b"half")
    prune(tmp_path, 1)
    assert partial_folder(tmp_path, 2).is_dir()  # others may still be writing
    drop_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


CHILD = """
import os
calls = 0

def counted(name):
    real = getattr(os, name)
    def call(*args, **named):
        global calls
        calls += 1
        if calls == {last}:
            if name == "write":
                real(args[0], args[1][: len(args[1]) // 2])
            os._exit(9)
        return real(*args, **named)
    setattr(os, name, call)

from pathlib import Path
from dni_async.files.checkpoint import prune
from tests.files.test_checkpoint import make
for name in ("open", "write", "fsync", "close", "replace", "rename", "unlink", "rmdir", "mkdir"):
    counted(name)
make(Path({folder!r}), 20)
prune(Path({folder!r}), 1)
"""


def test_a_kill_between_any_two_system_calls_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """The child ends itself at its n-th call to the system, in the middle of it where it writes."""
    last, found = 0, []
    code = 9
    while code == 9:
        last += 1
        folder = tmp_path / str(last)
        make(folder, 10)
        program = tmp_path / "child.py"
        program.write_text(CHILD.format(last=last, folder=str(folder)))
        code, _ = outcome([sys.executable, "-u", str(program)], tmp_path)
        found.append(newest(folder)[0])
        make(folder, 30)  # and what was left behind is in nobody's way
        drop_partial(folder)
        prune(folder, 1)
        assert [path.name for path in folder.iterdir()] == ["30"]
    assert code == 0
    assert last > 25
    assert None not in found
    assert found == sorted(found)  # the old one until the new one is whole
    assert {10, 20} == set(found)
