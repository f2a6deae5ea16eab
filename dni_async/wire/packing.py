"""Tensors without their zeros: a bit for each number, then the numbers that are not zero. Exact."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from dni_async.errors import WireError
from dni_async.wire.codec import mask_bytes

__all__ = ["WORTH_WHILE", "pack", "unpack"]

WORTH_WHILE: Final = 0.9  # of the bytes: what saves less is not packed
_WORDS: Final = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}  # by size


def pack(tensor: torch.Tensor) -> torch.Tensor | None:
    """The numbers of a CPU tensor that are not zero, behind a mask of where they are: uint8 [N].

    After a ReLU that is about half of the bytes. Only zeros with no bit set are left out, so -0.0
    stays. None where it would not be WORTH_WHILE.
    """
    words = _words(tensor.detach().contiguous())
    is_there = words != 0
    mask = np.packbits(is_there)
    values = words[is_there].view(np.uint8)
    if mask.nbytes + values.nbytes > WORTH_WHILE * words.nbytes:
        return None
    return torch.from_numpy(np.concatenate((mask, values)))


def unpack(buffer: memoryview, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    """The tensor of that dtype and shape that was packed.

    Raises WireError where buffer has another number of values than its mask says; wire has looked.
    """
    tensor = torch.zeros(shape, dtype=dtype)
    words = _words(tensor)
    packed = np.frombuffer(buffer, dtype=np.uint8)
    length = mask_bytes(words.size)
    is_there = np.unpackbits(packed[:length], count=words.size).view(np.bool_)
    needed = length + int(np.count_nonzero(is_there)) * words.itemsize
    if packed.nbytes != needed:
        raise WireError(f"packed tensor has {packed.nbytes} bytes, its mask needs {needed}")
    words[is_there] = np.frombuffer(packed[length:].tobytes(), dtype=words.dtype)
    return tensor


def _words(tensor: torch.Tensor) -> np.ndarray:
    """Its memory as unsigned integers of the size of its numbers, in one dimension."""
    flat = tensor.as_strided((tensor.numel(),), (1,)).view(torch.uint8).numpy()
    return flat.view(_WORDS[tensor.element_size()])
