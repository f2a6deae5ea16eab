"""Checkpoints as files: whole or not there, whatever moment a process or the machine ends at.

    checkpoints/<batch_id>/stage-0.safetensors ... manifest.json

A checkpoint is made in ``<batch_id>.part``. Every stage writes its shard there and syncs it. The
manifest, which names each shard's size and sha256, is written last and by its own rename; then the
folder gets its name. What has no manifest, or differs from it, is no checkpoint. Knows no torch:
``shards`` knows what is in a shard.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dni_async.errors import CheckpointError
from dni_async.files import names
from dni_async.files.reading import open_regular, read_bounded
from dni_async.files.writing import sync_folder, write_whole

__all__ = [
    "Manifest",
    "ShardFile",
    "check_shards",
    "digest_of",
    "drop_checkpoint",
    "drop_partial",
    "find_begun",
    "find_newest",
    "partial_folder",
    "prune",
    "read_manifest",
    "seal",
]

FORMAT = 1
_READ_BYTES = 1 << 20
_NUMBER = re.compile(r"[0-9]{1,19}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ShardFile:
    """One stage's file: its layers (half-open), size in bytes and sha256 in hexadecimal."""

    first_layer: int
    end_layer: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole checkpoint: the training batch it stands before, its run, and the files by stage.

    run: what must be equal in a run that goes on from here. folder: where it was found.
    """

    batch_id: int
    epoch: int
    index: int
    run: Mapping[str, Any]
    shards: tuple[ShardFile, ...]
    folder: Path = Path()

    def path(self, stage: int) -> Path:
        """The file of a stage."""
        return self.folder / names.shard(stage)


def partial_folder(root: Path, batch_id: int) -> Path:
    """Where the checkpoint before batch_id is made."""
    return root / f"{batch_id}{names.PART}"


def seal(root: Path, manifest: Manifest) -> Path:
    """Make the partial folder, in which all shards are on disk, a checkpoint; its folder.

    Raises OSError.
    """
    partial, folder = partial_folder(root, manifest.batch_id), root / str(manifest.batch_id)
    told = dataclasses.asdict(manifest) | {"format": FORMAT}
    del told["folder"]
    write_whole(partial / names.MANIFEST, json.dumps(told, indent=1).encode())
    drop_checkpoint(folder)  # one that was refused, or made before the run went back past it
    os.rename(partial, folder)
    sync_folder(root)
    return folder


def find_newest(
    root: Path, run: Mapping[str, Any], refuse: Callable[[str], None]
) -> Manifest | None:
    """The newest whole checkpoint of this run under root; None where there is none.

    refuse is told of each newer one that is damaged or of another run, in one sentence.
    """
    for folder in sorted(_numbered(root), key=_number, reverse=True):
        try:
            manifest = read_manifest(folder)
            _check_run(folder, manifest.run, run)
            check_shards(manifest)
        except CheckpointError as error:
            refuse(str(error))
        else:
            return manifest
    return None


def find_begun(root: Path) -> list[int]:
    """The batch ids of checkpoints under root that were begun, and are newer than every whole one.

    The newest first.
    """
    newest = max(map(_number, _numbered(root)), default=-1)
    found = [folder.name.removesuffix(names.PART) for folder in root.glob(f"*{names.PART}")]
    begun = [int(name) for name in found if _NUMBER.fullmatch(name)]
    return sorted((batch_id for batch_id in begun if batch_id > newest), reverse=True)


def digest_of(path: Path) -> tuple[int, str]:
    """A file's size in bytes and its sha256. Raises OSError."""
    digest, size_bytes = hashlib.sha256(), 0
    with open_regular(path) as file:
        while part := file.read(_READ_BYTES):
            digest.update(part)
            size_bytes += len(part)
    return size_bytes, digest.hexdigest()


def prune(root: Path, keep: int, *, newest: int | None = None, spare: Collection[int] = ()) -> None:
    """Remove all but the newest ``keep`` checkpoints, and those after batch newest, if it is given.

    spare: those that stay, however old they are. Raises OSError.
    """
    folders = sorted(_numbered(root), key=_number)
    ahead = [folder for folder in folders if newest is not None and _number(folder) > newest]
    behind = [folder for folder in folders if folder not in ahead]
    old = [folder for folder in behind[:-keep] if _number(folder) not in spare]
    for folder in (*ahead, *old):
        drop_checkpoint(folder)


def drop_partial(root: Path) -> None:
    """Remove what was begun and is no checkpoint; nobody may be at it."""
    if root.is_symlink():  # it is not this run's
        return
    for part in root.glob(f"*{names.PART}"):
        shutil.rmtree(part, ignore_errors=True)


def drop_checkpoint(folder: Path) -> None:
    """Remove a checkpoint, its manifest first, so that what is half removed is none any more."""
    (folder / names.MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _numbered(root: Path) -> list[Path]:
    """Folders that are named as checkpoints are, and lie there: a link may lead anywhere."""
    return [
        folder
        for folder in root.glob("*")
        if _NUMBER.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink()
    ]


def _number(folder: Path) -> int:
    return int(folder.name)


def read_manifest(folder: Path) -> Manifest:
    """What a checkpoint says of itself; its files are not looked at. Raises CheckpointError."""
    path = folder / names.MANIFEST
    try:
        told = json.loads(read_bounded(path))
        if told.pop("format") != FORMAT:
            raise CheckpointError(f"{path}: is of another format than {FORMAT}")
        shards = tuple(_shard_of(**shard) for shard in told.pop("shards"))
        manifest = Manifest(**told, shards=shards, folder=folder)
        _check_numbers(manifest.batch_id, manifest.epoch, manifest.index)
        if not isinstance(manifest.run, dict):
            raise TypeError("run is no object")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: is no manifest: {error}") from error
    if manifest.batch_id != _number(folder):
        raise CheckpointError(f"{path}: is of checkpoint {manifest.batch_id}")
    return manifest


def _shard_of(first_layer: int, end_layer: int, size_bytes: int, sha256: str) -> ShardFile:
    """Raises TypeError, ValueError."""
    _check_numbers(first_layer, end_layer, size_bytes)
    if not _SHA256.fullmatch(sha256):
        raise ValueError("sha256 is not 64 hexadecimal digits")
    return ShardFile(first_layer, end_layer, size_bytes, sha256)


def _check_numbers(*values: object) -> None:
    for value in values:
        if type(value) is not int or value < 0:
            raise TypeError(f"{value!r:.40} is no count")


def _check_run(folder: Path, made_by: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Raises CheckpointError if the checkpoint was made by a run that differs in what must not."""
    for name, value in made_by.items():
        if value != run.get(name):
            raise CheckpointError(
                f"{folder}: is of another run: its {name} is {value!r}, here it is "
                f"{run.get(name)!r}"
            )


def check_shards(manifest: Manifest) -> None:
    """Raises CheckpointError for the first file that is not as the manifest says."""
    for stage, shard in enumerate(manifest.shards):
        _check_shard(manifest.path(stage), shard)


def _check_shard(path: Path, shard: ShardFile) -> None:
    try:
        size_bytes = path.stat().st_size  # before all of it is read, whatever that may be
        if size_bytes != shard.size_bytes:
            raise CheckpointError(f"{path}: has {size_bytes} bytes, needs {shard.size_bytes}")
        _, sha256 = digest_of(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if sha256 != shard.sha256:
        raise CheckpointError(f"{path}: is damaged: its sha256 is not the manifest's")
