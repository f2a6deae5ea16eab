"""MNIST and its like: found in a folder, downloaded with a checksum, or asked for in a sentence."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.server
import os
import re
import struct
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dni_async.data import load_dataset
from dni_async.data.sources.mnist import (
    FASHION_MNIST,
    MNIST,
    IdxSource,
    download_files,
    find_files,
    load_idx,
)
from dni_async.errors import DataError


def idx_content(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x0800 | array.ndim, *array.shape) + array.tobytes()


TRAIN_IMAGES = np.arange(0, 120, dtype=np.uint8).reshape(5, 4, 6)
TEST_IMAGES = np.full((2, 4, 6), 255, np.uint8)
FILES = {
    "train-images-idx3-ubyte": idx_content(TRAIN_IMAGES),
    "train-labels-idx1-ubyte": idx_content(np.array([3, 1, 4, 1, 5], np.uint8)),
    "t10k-images-idx3-ubyte": idx_content(TEST_IMAGES),
    "t10k-labels-idx1-ubyte": idx_content(np.array([5, 0], np.uint8)),
}


def write_files(folder: Path, names: tuple[str, ...] = tuple(FILES), suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        content = gzip.compress(FILES[name], mtime=0) if suffix else FILES[name]
        (folder / f"{name}{suffix}").write_bytes(content)


@pytest.mark.parametrize("folder", [".", "mnist"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_found_in_either_folder_packed_or_not(tmp_path: Path, folder: str, suffix: str) -> None:
    write_files(tmp_path / folder, suffix=suffix)
    dataset = load_dataset("mnist", tmp_path)
    assert dataset.name == "mnist"
    assert dataset.num_classes == 6
    assert dataset.y_train.tolist() == [3, 1, 4, 1, 5]
    assert dataset.y_test.tolist() == [5, 0]
    expected = (TRAIN_IMAGES.reshape(5, 24) / 255 - 0.1307) / 0.3081
    assert dataset.x_train.dtype == np.uint8
    assert np.array_equal(dataset.decode(dataset.x_train), expected.astype(np.float32))


def test_fashion_has_its_own_scale(tmp_path: Path) -> None:
    write_files(tmp_path)
    dataset = load_dataset("fashion-mnist", tmp_path)
    assert dataset.decode(dataset.x_test) == pytest.approx((1 - 0.2860) / 0.3530)


def test_the_folder_with_the_name_comes_first(tmp_path: Path) -> None:
    write_files(tmp_path)
    write_files(tmp_path / "fashion-mnist")
    named = find_files(FASHION_MNIST, tmp_path)
    assert named is not None
    assert {path.parent.name for path in named} == {"fashion-mnist"}
    assert find_files(MNIST, tmp_path) == [tmp_path / name for name in FILES]


def test_environment_counts_without_data_dir_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "from-environment")
    write_files(tmp_path / "from-argument")
    (tmp_path / "from-argument" / "t10k-labels-idx1-ubyte").write_bytes(
        idx_content(np.array([4, 4], np.uint8))
    )
    monkeypatch.setenv("DNI_DATA_DIR", str(tmp_path / "from-environment"))
    assert load_dataset("mnist").y_test.tolist() == [5, 0]
    assert load_dataset("mnist", tmp_path / "from-argument").y_test.tolist() == [4, 4]


def test_a_folder_without_files_finds_nothing(tmp_path: Path) -> None:
    assert find_files(MNIST, tmp_path) is None


def test_a_folder_with_some_files_names_the_others(tmp_path: Path) -> None:
    write_files(tmp_path, tuple(FILES)[:2])
    with pytest.raises(DataError, match="misses t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"):
        load_dataset("mnist", tmp_path)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mnist: .*nowhere is not a folder"):
        load_dataset("mnist", tmp_path / "nowhere")


def test_images_and_labels_that_do_not_match(tmp_path: Path) -> None:
    write_files(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_content(np.zeros(4, np.uint8)))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: has 4 labels, .* has 5 images"):
        load_dataset("mnist", tmp_path)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder and the URL under which a server on this host publishes it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "published"
    write_files(folder, suffix=".gz")
    handler = partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def source_at(url: str, *, packed: bool) -> IdxSource:
    """A source with the checksums of FILES: of the archives, or of what is in them."""
    hashes = {
        f"{name}.gz" if packed else name: "sha256:"
        + hashlib.sha256(gzip.compress(content, mtime=0) if packed else content).hexdigest()
        for name, content in FILES.items()
    }
    return dataclasses.replace(MNIST, url=url, hashes=hashes)


@pytest.mark.parametrize("packed", [True, False])
def test_downloaded_once(tmp_path: Path, published: tuple[Path, str], packed: bool) -> None:
    folder, url = published
    source = source_at(url, packed=packed)
    paths = download_files(source, tmp_path / "cache")
    assert [path.name for path in paths] == list(source.hashes)
    for path in folder.iterdir():
        path.unlink()
    assert download_files(source, tmp_path / "cache") == paths
    dataset = load_idx(MNIST, tmp_path / "cache")
    assert dataset.y_train.tolist() == [3, 1, 4, 1, 5]


def test_a_damaged_file_in_the_cache_is_fetched_again(
    tmp_path: Path, published: tuple[Path, str]
) -> None:
    source = source_at(published[1], packed=False)
    damaged = download_files(source, tmp_path / "cache")[2]
    damaged.write_bytes(b"half of i")
    download_files(source, tmp_path / "cache")
    assert damaged.read_bytes() == FILES[damaged.name]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "404"),
        (gzip.compress(b"something else", mtime=0), "hash"),
        (b"<html>please log in</html>", "Not a gzipped file"),
        (gzip.compress(b"cut short", mtime=0)[:-4], "ended before"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 20, "Error -3"),
    ],
)
def test_a_failed_download_says_what_to_put_where(
    tmp_path: Path, published: tuple[Path, str], content: bytes | None, reason: str
) -> None:
    folder, url = published
    path = folder / "train-labels-idx1-ubyte.gz"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(
        DataError, match=rf"cannot download .*{path.name}: .*{reason}(.|\n)*into a folder, and name"
    ):
        download_files(source_at(url, packed=False), tmp_path / "cache")
    assert [kept.name for kept in (tmp_path / "cache").iterdir()] == ["train-images-idx3-ubyte"]


def test_nobody_publishes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot download"):
        download_files(source_at("http://127.0.0.1:1/", packed=True), tmp_path / "cache")


@pytest.fixture
def mnist_dir() -> Path:
    """The folder of the real files, where this host has them."""
    beside = Path(__file__).parents[4] / "shared" / "data"
    folder = Path(os.environ.get("DNI_DATA_DIR") or beside)
    if not folder.is_dir() or find_files(MNIST, folder) is None:
        pytest.skip("no MNIST files: DNI_DATA_DIR does not name a folder that holds them")
    return folder


def test_the_real_files(mnist_dir: Path) -> None:
    mnist = load_dataset("mnist", mnist_dir)
    assert mnist.x_train.shape == (60_000, 784)
    assert mnist.x_test.shape == (10_000, 784)
    assert mnist.num_classes == 10
    assert mnist.y_train[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert np.bincount(mnist.y_test).tolist()[:3] == [980, 1135, 1032]
    x = mnist.decode(mnist.x_train)
    assert abs(float(x.mean())) < 1e-3
    assert float(x.std()) == pytest.approx(1, abs=1e-3)


def test_the_real_files_match_their_checksums(mnist_dir: Path) -> None:
    paths = find_files(MNIST, mnist_dir)
    assert paths is not None
    for path, (name, known_hash) in zip(paths, MNIST.hashes.items(), strict=True):
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        assert path.name.startswith(name)
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == known_hash


@pytest.mark.parametrize("source", [MNIST, FASHION_MNIST], ids=lambda source: source.name)
def test_what_is_downloaded_comes_by_https_and_is_checked_by_a_hash_that_cannot_be_forged(
    source: IdxSource,
) -> None:
    assert source.url.startswith("https://")
    assert len(source.hashes) == 4
    for known in source.hashes.values():
        assert re.fullmatch("sha256:[0-9a-f]{64}", known)
