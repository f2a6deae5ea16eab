"""Tensors as bytes: the same numbers back, shared memory where that is safe."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async import WireError
from dni_async.wire.codec import DTYPE_SIZES, size_bytes
from dni_async.wire.messages import TensorMeta
from dni_async.wire.tensors import (
    VIEW_BYTES,
    as_it_lies,
    as_it_was,
    describe,
    from_buffer,
    shape_in_memory,
    to_buffer,
    torch_dtype,
)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16,
          "float64": torch.float64, "complex64": torch.complex64, "int64": torch.int64,
          "int32": torch.int32, "int16": torch.int16, "int8": torch.int8, "uint8": torch.uint8,
          "bool": torch.bool}  # fmt: skip


def numbers(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """0, 1, 2 ... in this dtype and shape."""
    return torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)


def test_every_dtype_of_the_wire_has_a_torch_dtype_of_its_size() -> None:
    assert {name: dtype.itemsize for name, dtype in DTYPES.items()} == DTYPE_SIZES
    assert {name: torch_dtype(TensorMeta(name, (1,))) for name in DTYPE_SIZES} == DTYPES


@pytest.mark.parametrize("name", DTYPES)
@settings(deadline=None, max_examples=40)
@given(
    shape=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    step=st.integers(1, 3),
)
def test_any_layout_in_memory_comes_back_as_the_same_numbers(
    name: str, shape: list[int], order: object, step: int
) -> None:
    axes = list(range(len(shape)))
    order.shuffle(axes)  # type: ignore[attr-defined]
    tensor = numbers(DTYPES[name], *shape).permute(axes)[::step]
    buffer = to_buffer(tensor)
    meta = describe(tensor)
    assert meta == TensorMeta(name, tuple(tensor.shape), -1, meta.is_channels_last)
    assert not (meta.is_channels_last and tensor.is_contiguous())
    assert buffer.format == "B"
    assert buffer.nbytes == size_bytes(meta)
    received = from_buffer(meta, buffer)
    assert received.dtype == tensor.dtype
    assert torch.equal(received, tensor)


@pytest.mark.parametrize(
    "tensor",
    [
        numbers(torch.float32, 4, 3)[:1].t(),
        numbers(torch.int64, 9)[::2][:1],
        numbers(torch.float32, 4, 3)[2:, 1:2][:1],
    ],
    ids=["one row on its side", "one number of several", "one number inside"],
)
def test_single_rows_with_odd_strides(tensor: torch.Tensor) -> None:
    """torch calls them contiguous, yet cannot view them as bytes."""
    assert tensor.is_contiguous()
    assert torch.equal(from_buffer(describe(tensor), to_buffer(tensor)), tensor)


def test_maps_that_lie_channels_last_share_their_memory_and_come_back_so() -> None:
    maps = numbers(torch.float32, 2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    meta, buffer = describe(maps), to_buffer(maps)
    assert meta == TensorMeta("float32", (2, 3, 4, 5), -1, is_channels_last=True)
    assert buffer.nbytes == size_bytes(meta)
    maps[1, 2, 3, 4] = 99
    received = from_buffer(meta, buffer)
    assert received.stride() == maps.stride()
    assert torch.equal(received, maps)
    assert torch.equal(as_it_was(as_it_lies(maps), meta), maps)
    assert shape_in_memory(meta) == as_it_lies(maps).shape == (2, 4, 5, 3)


def test_maps_of_one_channel_lie_either_way() -> None:
    maps = numbers(torch.float32, 2, 1, 4, 5).contiguous(memory_format=torch.channels_last)
    assert not describe(maps).is_channels_last


def test_a_contiguous_tensor_shares_its_memory_with_the_buffer() -> None:
    tensor = numbers(torch.int64, 4)
    buffer = to_buffer(tensor)
    tensor[2] = 99
    assert torch.equal(from_buffer(describe(tensor), buffer), tensor)


def test_a_tensor_with_a_graph_is_sent_without_it() -> None:
    tensor = torch.ones(3, requires_grad=True) * 2
    received = from_buffer(describe(tensor), to_buffer(tensor))
    assert received.tolist() == [2, 2, 2]
    assert not received.requires_grad


@pytest.mark.parametrize(
    ("size", "writable", "is_shared"),
    [
        (VIEW_BYTES, True, True),
        (VIEW_BYTES - 4, True, False),
        (VIEW_BYTES, False, False),
    ],
)
def test_large_writable_buffers_are_viewed_and_all_others_copied(
    size: int, writable: bool, is_shared: bool
) -> None:
    memory = bytearray(size)
    view = memoryview(memory) if writable else memoryview(memory).toreadonly()
    tensor = from_buffer(TensorMeta("float32", (size // 4,)), view)
    tensor[0] = 1.0  # writable either way
    assert (memory[:4] != bytes(4)) == is_shared


def test_a_buffer_of_another_length_is_refused() -> None:
    with pytest.raises(WireError, match="buffer has 15 bytes, needs 16"):
        from_buffer(TensorMeta("int64", (2,)), memoryview(bytearray(15)))


def test_a_dtype_without_a_name_is_refused() -> None:
    with pytest.raises(WireError, match=r"dtype torch\.complex128 cannot be sent"):
        describe(torch.zeros(2, dtype=torch.complex128))
