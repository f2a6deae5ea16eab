"""Tensors to raw buffers and back, without a copy where the memory allows it."""

from __future__ import annotations

from typing import Final

import torch

from dni_async.errors import WireError
from dni_async.wire.codec import size_bytes
from dni_async.wire.messages import INLINE, PACKED, TensorMeta
from dni_async.wire.packing import unpack

__all__ = [
    "VIEW_BYTES",
    "aligned",
    "as_it_lies",
    "as_it_was",
    "describe",
    "from_buffer",
    "shape_in_memory",
    "to_buffer",
    "torch_dtype",
]

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
    return TensorMeta(name, tuple(tensor.shape), place, _is_channels_last(tensor))


def as_it_lies(tensor: torch.Tensor) -> torch.Tensor:
    """tensor row by row, or maps [B, C, H, W] that lie channels last as [B, H, W, C], uncopied."""
    return tensor.permute(0, 2, 3, 1) if _is_channels_last(tensor) else tensor


def shape_in_memory(meta: TensorMeta) -> tuple[int, ...]:
    """What as_it_lies gave has this shape."""
    if not meta.is_channels_last:
        return meta.shape
    batch, channels, height, width = meta.shape
    return batch, height, width, channels


def as_it_was(tensor: torch.Tensor, meta: TensorMeta) -> torch.Tensor:
    """Of one that has shape_in_memory, the tensor that meta describes, uncopied."""
    return tensor.permute(0, 3, 1, 2) if meta.is_channels_last else tensor


def aligned(tensor: torch.Tensor) -> torch.Tensor:
    """tensor itself where torch would have put it, else a copy there.

    Matrix products may round differently for operands that begin off a 16-byte boundary, as
    views of received frames do; bit-exact work needs the boundary that torch's allocator keeps.
    """
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT_BYTES else tensor


def to_buffer(tensor: torch.Tensor) -> memoryview:
    """The bytes of a CPU tensor in the order that describe says; shares memory if they lie so.

    A shared buffer is frozen: the tensor must not change while the buffer is in use.
    """
    if tensor.ndim == 1 and tensor.dtype == torch.int64 and tensor.is_contiguous():  # labels
        return tensor.numpy().data.cast("B")
    dense = as_it_lies(tensor.detach()).contiguous()
    # A single row counts as contiguous whatever its stride, so view and reshape may keep that.
    flat = dense.as_strided((dense.numel(),), (1,))
    return flat.view(torch.uint8).numpy().data


def from_buffer(meta: TensorMeta, buffer: memoryview) -> torch.Tensor:
    """The tensor that buffer holds. Views writable buffers from VIEW_BYTES up, copies others.

    Raises WireError when the length does not fit meta.
    """
    shape = shape_in_memory(meta)
    if meta.place == PACKED:
        return as_it_was(unpack(buffer, _DTYPES[meta.dtype], shape), meta)
    if buffer.nbytes != size_bytes(meta):
        raise WireError(f"buffer has {buffer.nbytes} bytes, needs {size_bytes(meta)}")
    if buffer.nbytes < VIEW_BYTES or buffer.readonly:
        buffer = memoryview(bytearray(buffer))
    if buffer.nbytes == 0:
        return torch.empty(meta.shape, dtype=_DTYPES[meta.dtype])
    return as_it_was(torch.frombuffer(buffer, dtype=_DTYPES[meta.dtype]).view(shape), meta)


def _is_channels_last(tensor: torch.Tensor) -> bool:
    """Whether maps lie so and not row by row as well, as those of one channel do."""
    if tensor.ndim != 4 or tensor.is_contiguous():
        return False
    return tensor.is_contiguous(memory_format=torch.channels_last)
