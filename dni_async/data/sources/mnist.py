"""MNIST and Fashion-MNIST, from IDX files in a folder or downloaded once."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dni_async.data.dataset import Dataset, checked_dataset
from dni_async.data.sources.idx import read_idx
from dni_async.errors import DataError
from dni_async.files.homes import cache_folder
from dni_async.system import output

__all__ = ["FASHION_MNIST", "MNIST", "IdxSource", "download_files", "find_files", "load_idx"]

_FILE_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True, slots=True)
class IdxSource:
    """Where a data set of four IDX files is published, and how its pixels are standardised.

    hashes maps the name under which a file is kept to its checksum, in the order of the files:
    training images and labels, test images and labels. What is published is always gzipped; a
    name without .gz means that the file is kept unpacked and its checksum is of that content.
    mean and std are of the training pixels, scaled to [0, 1].
    """

    name: str
    url: str
    mean: float
    std: float
    hashes: Mapping[str, str]


MNIST = IdxSource(
    name="mnist",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    mean=0.1307,
    std=0.3081,
    # Of the content, because the archives in circulation were packed more than once.
    hashes={
        "train-images-idx3-ubyte": (
            "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte": (
            "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
        "t10k-images-idx3-ubyte": (
            "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        "t10k-labels-idx1-ubyte": (
            "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    },
)

FASHION_MNIST = IdxSource(
    name="fashion-mnist",
    url="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    mean=0.2860,
    std=0.3530,
    hashes={
        "train-images-idx3-ubyte.gz": (
            "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        "train-labels-idx1-ubyte.gz": (
            "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
        ),
        "t10k-images-idx3-ubyte.gz": (
            "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        "t10k-labels-idx1-ubyte.gz": (
            "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
        ),
    },
)


def load_idx(source: IdxSource, data_dir: Path | None) -> Dataset:
    """Return x [N, height * width], bytes that stand for standardised pixels, and y int64 [N].

    The files are those in data_dir or data_dir/NAME, or else downloaded into the user's cache.
    Raises DataError when they are damaged, do not fit together or cannot be had.
    """
    paths = find_files(source, data_dir) if data_dir is not None else None
    if paths is None:
        import pooch  # 80 ms, and only for this

        paths = download_files(
            source, cache_folder(pooch.os_cache, holds=source.name) / source.name
        )
    x_train, y_train = _read_split(source, *paths[:2])
    x_test, y_test = _read_split(source, *paths[2:])
    return checked_dataset(
        source.name,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        byte_values=((np.arange(256) / 255 - source.mean) / source.std).astype(np.float32),
    )


def find_files(source: IdxSource, data_dir: Path) -> list[Path] | None:
    """Return the four files in data_dir/NAME or data_dir, gzipped or plain; None if none is there.

    Raises DataError when data_dir is not a folder, or when a folder holds some of the files only.
    """
    if not data_dir.is_dir():
        raise DataError(f"{source.name}: {data_dir} is not a folder")
    # The folder with the name first: MNIST and Fashion-MNIST call their files alike.
    for folder in (data_dir / source.name, data_dir):
        candidates = [(folder / name, folder / f"{name}.gz") for name in _FILE_NAMES]
        found = [next((path for path in pair if path.is_file()), None) for pair in candidates]
        paths = [path for path in found if path is not None]
        if len(paths) == len(_FILE_NAMES):
            return paths
        if paths:
            missing = [n for n, path in zip(_FILE_NAMES, found, strict=True) if path is None]
            raise DataError(f"{source.name}: {folder} misses {', '.join(missing)} (or with .gz)")
    return None


def download_files(source: IdxSource, cache_dir: Path) -> list[Path]:
    """Return the four files in cache_dir, each downloaded unless it is there with its checksum.

    Raises DataError, which says what to put where, when a download fails or its checksum differs.
    """
    import pooch

    http = pooch.HTTPDownloader(progressbar=output.has_terminal())

    def unpack(url: str, output_path: str, caller: Any) -> None:
        http(url, output_path, caller)
        path = Path(output_path)
        path.write_bytes(gzip.decompress(path.read_bytes()))

    paths = []
    for name, known_hash in source.hashes.items():
        kept_packed = name.endswith(".gz")
        url = source.url + (name if kept_packed else f"{name}.gz")
        downloader = http if kept_packed else unpack
        try:
            path = pooch.retrieve(url, known_hash, name, cache_dir, downloader=downloader)
        # The network and the checksum raise OSError and ValueError, a damaged archive the others.
        except (OSError, ValueError, EOFError, zlib.error) as error:
            raise DataError(
                f"{source.name}: cannot download {url}: {error}. Put {', '.join(_FILE_NAMES)} "
                "(or with .gz) into a folder, and name it as data_dir or in DNI_DATA_DIR"
            ) from error
        paths.append(Path(path))
    return paths


def _read_split(
    source: IdxSource, images_path: Path, labels_path: Path
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images = read_idx(images_path, num_dims=3)
    labels = read_idx(labels_path, num_dims=1)
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path}: has {len(labels)} labels, {images_path.name} has {len(images)} images"
        )
    return images.reshape(len(images), -1), labels
