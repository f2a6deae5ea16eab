"""IDX, the file format of MNIST: a big-endian header, then one unsigned byte per element."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dni_async.errors import DataError

__all__ = ["read_idx"]

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: Path, *, num_dims: int) -> NDArray[np.uint8]:
    """Return the array in an IDX file, gzipped or plain: uint8 with num_dims dimensions, read-only.

    The header is a magic number (two zero bytes, the element type, num_dims) and one uint32 per
    dimension. Raises DataError, which names the file and the bytes it has and needs, when the
    content is anything else, and when there are no elements.
    """
    content = _unpacked(path)
    header_bytes = 4 * (1 + num_dims)
    if len(content) < header_bytes:
        raise DataError(f"{path}: has {len(content)} bytes, its header alone needs {header_bytes}")
    magic, *shape = struct.unpack_from(f">{1 + num_dims}I", content)
    expected_magic = _UNSIGNED_BYTE << 8 | num_dims
    if magic != expected_magic:
        raise DataError(
            f"{path}: starts with 0x{magic:08x}, but IDX bytes in {num_dims} "
            f"dimension(s) start with 0x{expected_magic:08x}"
        )
    expected_bytes = header_bytes + math.prod(shape)
    if len(content) != expected_bytes:
        raise DataError(
            f"{path}: has {len(content)} bytes, its header says {expected_bytes} (shape {shape})"
        )
    if 0 in shape:
        raise DataError(f"{path}: is empty (shape {shape})")
    return np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape)


def _unpacked(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        # Told by content, not by suffix: browsers unpack a .gz and leave its name.
        return gzip.decompress(content) if content.startswith(_GZIP_MAGIC) else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
