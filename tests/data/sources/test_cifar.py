"""CIFAR-10: both published forms give the same data set; damaged or hostile files a sentence."""

from __future__ import annotations

import contextlib
import io
import re
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dni_async.data import load_dataset
from dni_async.data.sources.cifar import PIXELS
from dni_async.data.sources.pickled_batch import read_pickled_batch
from dni_async.errors import DataError

FILES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
LABELS = np.array([[3, 9], [0, 1], [2, 2], [8, 7], [6, 5], [4, 9]], np.uint8)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 2, PIXELS), dtype=np.uint8)


class Python2:
    """Writes what cPickle of Python 2 wrote by protocol 2, every value memoized."""

    def __init__(self) -> None:
        self.out = bytearray(b"\x80\x02")
        self._memo = 0

    def put(self, opcodes: bytes) -> None:
        """opcodes, and the memo's number for what they leave."""
        self._memo += 1
        number = self._memo
        self.out += opcodes
        self.out += b"q" + bytes([number]) if number < 256 else b"r" + struct.pack("<I", number)

    def text(self, text: str) -> None:
        """A short string."""
        self.put(b"U" + bytes([len(text)]) + text.encode())

    def number(self, number: int) -> None:
        """An int from 0 to 65535."""
        self.out += b"K" + bytes([number]) if number < 256 else b"M" + struct.pack("<H", number)

    def array(self, array: NDArray[np.uint8], *, order: bytes = b"\x89") -> None:
        """numpy's __reduce__ of Python 2; order: the opcode that says whether it is Fortran's."""
        self.put(b"cnumpy.core.multiarray\n_reconstruct\n")
        self.put(b"cnumpy\nndarray\n")
        self.number(0)
        self.put(b"\x85")
        self.text("b")
        self.put(b"\x87")
        self.put(b"R")
        self.out += b"("
        self.number(1)
        self.number(len(array))
        self.number(array.shape[1])
        self.put(b"\x86")
        self.put(b"cnumpy\ndtype\n")
        self.text("u1")
        self.number(0)
        self.number(1)
        self.put(b"\x87")
        self.put(b"R")
        self.out += b"("
        self.number(3)
        self.text("|")
        self.out += b"NNN" + 2 * (b"J" + struct.pack("<i", -1))
        self.number(0)
        self.put(b"t")
        self.out += b"b" + order
        content = array.tobytes("F" if order == b"\x88" else "C")
        self.put(b"T" + struct.pack("<i", len(content)) + content)
        self.put(b"t")
        self.out += b"b"

    def items(self, write: Callable[[], None]) -> None:
        """A list: what write adds, after a mark."""
        self.put(b"]")
        self.out += b"("
        write()
        self.out += b"e"


def pickled(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], *, order: bytes = b"\x89"
) -> bytes:
    """One data_batch file of the python version."""
    batch = Python2()
    batch.put(b"}")
    batch.out += b"("
    batch.text("batch_label")
    batch.text("training batch 1 of 5")
    batch.text("labels")
    batch.items(lambda: [batch.number(int(label)) for label in labels] and None)
    batch.text("data")
    batch.array(images, order=order)
    batch.text("filenames")
    batch.items(lambda: [batch.text(f"auto_s_00000{number}.png") for number in labels] and None)
    batch.out += b"u."
    return bytes(batch.out)


def records(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> bytes:
    """One file of the binary version."""
    return np.hstack([labels[:, None], images]).tobytes()


FORMS = {
    "py": ("cifar-10-batches-py", "cifar-10-python.tar.gz", "", pickled),
    "bin": ("cifar-10-batches-bin", "cifar-10-binary.tar.gz", ".bin", records),
}


def write(folder: Path, form: str, *, packed: bool = False, **replaced: bytes) -> Path:
    """The six files in folder, or the archive of them; what holds them."""
    name, archive_name, suffix, make = FORMS[form]
    contents = {
        file: make(images, labels)
        for file, images, labels in zip(FILES, IMAGES, LABELS, strict=True)
    } | replaced
    folder.mkdir(parents=True, exist_ok=True)
    if not packed:
        (folder / name).mkdir()
        for file, content in contents.items():
            (folder / name / f"{file}{suffix}").write_bytes(content)
        return folder / name
    with tarfile.open(folder / archive_name, "w:gz") as archive:
        for file, content in contents.items():
            member = tarfile.TarInfo(f"{name}/{file}{suffix}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return folder / archive_name


@pytest.mark.parametrize("folder", [".", "cifar10"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_both_forms_give_the_same(tmp_path: Path, form: str, packed: bool, folder: str) -> None:
    write(tmp_path / folder, form, packed=packed)
    dataset = load_dataset("cifar10", tmp_path)
    assert (dataset.name, dataset.num_classes, dataset.input_shape) == ("cifar10", 10, (3, 32, 32))
    assert dataset.x_train.dtype == np.uint8
    assert dataset.y_train.tolist() == LABELS[:5].ravel().tolist()
    assert dataset.y_test.tolist() == LABELS[5].tolist()
    x_train, x_test = dataset.decode(dataset.x_train), dataset.decode(dataset.x_test)
    expected = (IMAGES / 255).astype(np.float32).reshape(6, 2, 3, 32, 32)
    assert np.array_equal(x_train, expected[:5].reshape(10, 3, 32, 32))
    assert np.array_equal(x_test, expected[5])


def test_an_array_in_the_other_order() -> None:
    images, labels = read_pickled_batch(pickled(IMAGES[0], LABELS[0], order=b"\x88"), "it")
    assert np.array_equal(images, IMAGES[0])
    assert labels.tolist() == LABELS[0].tolist()


def test_many_labels_come_in_parts_and_what_came_before_by_its_number() -> None:
    """cPickle writes lists in parts of a thousand, and what it has written before from its memo."""
    content = pickled(np.zeros((2, 4), np.uint8), np.array([7, 5], np.uint8))
    parts = content.replace(b"K\x07K\x05e", b"K\x07e(K\x05e")
    again = content.replace(b"K\x07K\x05e", b"K\x07q\xf0h\xf0e")
    assert len({content, parts, again}) == 3
    assert read_pickled_batch(parts, "it")[1].tolist() == [7, 5]
    assert read_pickled_batch(again, "it")[1].tolist() == [7, 7]


def test_neither_form_is_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cifar10: .* holds none of cifar-10-batches-bin, cifar"):
        load_dataset("cifar10", tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        load_dataset("cifar10", tmp_path / "none")


def test_a_file_is_missing(tmp_path: Path) -> None:
    (write(tmp_path / "a", "bin") / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3\.bin: cannot be read: No such file"):
        load_dataset("cifar10", tmp_path / "a")
    path = write(tmp_path / "b", "py", packed=True)
    with tarfile.open(path, "w:gz"):
        pass
    with pytest.raises(DataError, match=r"tar\.gz: misses data_batch_1, .*test_batch in cifar-10"):
        load_dataset("cifar10", tmp_path / "b")


def test_a_damaged_archive(tmp_path: Path) -> None:
    path = write(tmp_path, "bin", packed=True)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=rf"{re.escape(str(path))}: cannot be read"):
        load_dataset("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("form", "content", "message"),
    [
        ("bin", b"", "has 0 bytes, not a number of records of 3073"),
        ("bin", bytes(3074), "has 3074 bytes, not a number"),
        ("bin", records(IMAGES[0], LABELS[0] + 1), "holds label 10; there are 10 classes"),
        ("py", b"", "is no batch of CIFAR-10"),
        ("py", pickled(IMAGES[0], LABELS[0])[:-100], "is no batch of CIFAR-10"),
        ("py", pickled(IMAGES[0], LABELS[0, :1]), "has 2 images, 1 labels"),
        ("py", pickled(IMAGES[0, :, :12], LABELS[0]), "images of shape (2, 12), not [N, 3072]"),
        ("py", pickled(IMAGES[0], LABELS[0] + 1), "holds label 10"),
        ("py", b"\x80\x02cposix\nsystem\nU\x02ls\x85R.", "GLOBAL 'posix system' is not in"),
        ("py", b"\x80\x02cnumpy\nload\n.", "GLOBAL 'numpy load' is not in these files"),
        ("py", b"\x80\x02(X\x01\x00\x00\x00ai__builtin__\neval\n.", "is not in these files"),
        ("py", b"\x80\x03}.", "PROTO 3 is not in these files"),
        ("py", b"\x80\x02].", "ends with a list, not a dict"),
        ("py", b"\x80\x02}(K\x01K\x02u.", "a key is no text"),
        ("py", b"\x80\x02}q\x01(U\x04dataK\x01u.", "is no batch of CIFAR-10"),
    ],
)
def test_what_these_files_do_not_hold_is_refused(
    tmp_path: Path, form: str, content: bytes, message: str
) -> None:
    path = write(tmp_path, form, data_batch_2=content)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        load_dataset("cifar10", tmp_path)
    assert str(caught.value).startswith(f"{path}/data_batch_2")


def test_a_tuple_that_holds_itself_twice_a_hundred_times_over_is_refused_at_once() -> None:
    twice = b"q\x01h\x01\x86"
    shape = b"\x80\x02}(U\x04data(" + b"K\x01" + twice * 100 + b"K\x01" * 3 + b"t"
    for content in (shape + b"u.", b"\x80\x02}(K\x01" + twice * 100 + b"K\x01u."):
        with pytest.raises(DataError, match="is no batch of CIFAR-10"):
            read_pickled_batch(content, "it")


GOOD = pickled(IMAGES[0, :, :6], LABELS[0])


@settings(deadline=None)
@given(position=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_damaged_bytes_give_a_batch_or_a_data_error(position: int, byte: int, cut: bool) -> None:
    content = bytearray(GOOD)
    content[position] = byte
    with contextlib.suppress(DataError):
        images, labels = read_pickled_batch(bytes(content[:position] if cut else content), "it")
        assert len(images) == len(labels)
