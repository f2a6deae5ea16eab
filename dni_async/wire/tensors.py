"""Tensors to raw buffers and back, without a copy where the memory allows it."""

from __future__ import annotations

from typing import Final

import torch

from dni_async.errors import WireError
from dni_async.wire.codec import size_bytes
from dni_async.wire.messages import INLINE, PACKED, TensorMeta
from dni_async.wire.packing import unpack

__all__ = ["VIEW_BYTES", "aligned", "describe", "from_buffer", "to_buffer", "torch_dtype"]

_DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
    "complex64": torch.complex64,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items()}

# Smaller received frames may lie at odd addresses, so they are copied; larger ones are aligned.
VIEW_BYTES: Final = 64 * 1024
ALIGNMENT_BYTES: Final = 64  # torch's own


def torch_dtype(meta: TensorMeta) -> torch.dtype:
    """The torch dtype that meta names."""
    return _DTYPES[meta.dtype]


def describe(tensor: torch.Tensor, place: int = INLINE) -> TensorMeta:
    """Shape and dtype of tensor as they travel. Raises WireError for a dtype without a name."""
    name = _NAMES.get(tensor.dtype)
    if name is None:
        raise WireError(f"dtype {tensor.dtype} cannot be sent; can: {', '.join(_DTYPES)}")
    return TensorMeta(name, tuple(tensor.shape), place)


def aligned(tensor: torch.Tensor) -> torch.Tensor:
    """tensor itself where torch would have put it, else a copy there.

    Matrix products may round differently for operands that begin off a 16-byte boundary, as
    views of received frames do; bit-exact work needs the boundary that torch's allocator keeps.
    """
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT_BYTES else tensor


def to_buffer(tensor: torch.Tensor) -> memoryview:
    """The bytes of a CPU tensor, in row-major order; shares memory if it is contiguous.

    A shared buffer is frozen: the tensor must not change while the buffer is in use.
    """
    dense = tensor.detach().contiguous()
    # A single row counts as contiguous whatever its stride, so view and reshape may keep that.
    flat = dense.as_strided((dense.numel(),), (1,))
    return flat.view(torch.uint8).numpy().data


def from_buffer(meta: TensorMeta, buffer: memoryview) -> torch.Tensor:
    """The tensor that buffer holds. Views writable buffers from VIEW_BYTES up, copies others.

    Raises WireError when the length does not fit meta.
    """
    if meta.place == PACKED:
        return unpack(buffer, _DTYPES[meta.dtype], meta.shape)
    if buffer.nbytes != size_bytes(meta):
        raise WireError(f"buffer has {buffer.nbytes} bytes, needs {size_bytes(meta)}")
    if buffer.nbytes < VIEW_BYTES or buffer.readonly:
        buffer = memoryview(bytearray(buffer))
    if buffer.nbytes == 0:
        return torch.empty(meta.shape, dtype=_DTYPES[meta.dtype])
    return torch.frombuffer(buffer, dtype=_DTYPES[meta.dtype]).view(meta.shape)
