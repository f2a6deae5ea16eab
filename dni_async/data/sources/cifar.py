"""CIFAR-10, from its python or binary version in a folder, or downloaded once."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dni_async.data.dataset import Dataset, checked_dataset
from dni_async.data.sources.pickled_batch import read_pickled_batch
from dni_async.errors import DataError
from dni_async.files.homes import cache_folder
from dni_async.system import output

__all__ = ["CIFAR10", "load_cifar10"]

CIFAR10 = "cifar10"
NUM_CLASSES = 10
SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
_MAX_FILE_BYTES = 2**26  # a batch has half of that

_URL = "https://www.cs.toronto.edu/~kriz/"
_BINARY_HASH = "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
_TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST_FILE = "test_batch"

Batch = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class _Version:
    """One of the published forms: read_batch makes images [N, 3072] and labels [N] of a file."""

    folder: str
    archive: str
    suffix: str
    read_batch: Callable[[bytes, str], Batch]


def read_binary_batch(content: bytes, where: str) -> Batch:
    """Return images uint8 [N, 3072] and labels uint8 [N] from records of a label and its pixels.

    Raises DataError, which begins with where.
    """
    size = 1 + PIXELS
    if not content or len(content) % size:
        raise DataError(f"{where}: has {len(content)} bytes, not a number of records of {size}")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    return records[:, 1:], records[:, 0]


_BINARY = _Version("cifar-10-batches-bin", "cifar-10-binary.tar.gz", ".bin", read_binary_batch)
_PYTHON = _Version("cifar-10-batches-py", "cifar-10-python.tar.gz", "", read_pickled_batch)


def load_cifar10(data_dir: Path | None) -> Dataset:
    """Return x [N, 3, 32, 32], bytes that stand for pixels in [0, 1], and y int64 [N].

    The folder cifar-10-batches-bin or cifar-10-batches-py, or the archive that it comes in, is
    looked for in data_dir/cifar10 and data_dir; without data_dir the binary version is downloaded
    into the user's cache. Raises DataError when it is not there, damaged or cannot be had.
    """
    version, path = _download() if data_dir is None else _find(data_dir)
    files = [f"{name}{version.suffix}" for name in (*_TRAIN_FILES, _TEST_FILE)]
    read = _read_folder if path.is_dir() else _read_archive
    contents = read(path, version.folder, files)
    batches = [
        _checked(*version.read_batch(content, where), where) for where, content in contents.items()
    ]
    images = np.concatenate([images for images, _ in batches[:-1]])
    labels = np.concatenate([labels for _, labels in batches[:-1]])
    return checked_dataset(
        CIFAR10,
        x_train=images.reshape(-1, *SHAPE),
        y_train=labels,
        x_test=batches[-1][0].reshape(-1, *SHAPE),
        y_test=batches[-1][1],
        byte_values=(np.arange(256) / 255).astype(np.float32),
    )


def _find(data_dir: Path) -> tuple[_Version, Path]:
    """The version that is there, and its folder or archive."""
    if not data_dir.is_dir():
        raise DataError(f"{CIFAR10}: {data_dir} is not a folder")
    for folder in (data_dir / CIFAR10, data_dir):
        for version in (_BINARY, _PYTHON):
            if (folder / version.folder).is_dir():
                return version, folder / version.folder
            if (folder / version.archive).is_file():
                return version, folder / version.archive
    raise DataError(
        f"{CIFAR10}: {data_dir} holds none of {_BINARY.folder}, {_PYTHON.folder}, "
        f"{_BINARY.archive} and {_PYTHON.archive}"
    )


def _download() -> tuple[_Version, Path]:
    """The archive of the binary version in the user's cache, with its checksum."""
    import pooch  # 80 ms, and only for this

    http = pooch.HTTPDownloader(progressbar=output.has_terminal())
    cache_dir = cache_folder(pooch.os_cache, holds=CIFAR10) / CIFAR10
    url = _URL + _BINARY.archive
    try:
        path = pooch.retrieve(url, _BINARY_HASH, _BINARY.archive, cache_dir, downloader=http)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{CIFAR10}: cannot download {url}: {error}. Put {_BINARY.archive} or "
            f"{_PYTHON.archive} into a folder, and name it as data_dir or in DNI_DATA_DIR"
        ) from error
    return _BINARY, Path(path)


def _read_folder(folder: Path, _name: str, files: list[str]) -> dict[str, bytes]:
    contents = {}
    for name in files:
        path = folder / name
        try:
            contents[str(path)] = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return contents


def _read_archive(path: Path, folder: str, files: list[str]) -> dict[str, bytes]:
    """The files' contents, in the order of files; nothing is unpacked onto the disk."""
    wanted = {f"{folder}/{name}": name for name in files}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.name not in wanted or not member.isreg():
                    continue
                name = wanted[member.name]
                if member.size > _MAX_FILE_BYTES:
                    raise DataError(f"{path}: {name} has {member.size} bytes, too many for a batch")
                stream = archive.extractfile(member)
                assert stream is not None  # a regular file has one
                found[name] = stream.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    missing = [name for name in files if name not in found]
    if missing:
        raise DataError(f"{path}: misses {', '.join(missing)} in {folder}")
    return {f"{path}: {name}": found[name] for name in files}


def _checked(images: NDArray[np.uint8], labels: NDArray[np.uint8], where: str) -> Batch:
    if images.shape[1] != PIXELS or not len(images):
        raise DataError(f"{where}: has images of shape {images.shape}, not [N, {PIXELS}]")
    if labels.max() >= NUM_CLASSES:
        raise DataError(f"{where}: holds label {labels.max()}; there are {NUM_CLASSES} classes")
    return images, labels
