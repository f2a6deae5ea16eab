"""Tensors without their zeros: back to the bit, and nothing else decodes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dni_async import WireError
from dni_async.wire.codec import mask_bytes
from dni_async.wire.messages import PACKED
from dni_async.wire.packing import WORTH_WHILE, pack, unpack
from dni_async.wire.tensors import describe, from_buffer, to_buffer

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.int8)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    share=st.floats(0, 0.7),
    seed=st.integers(0, 2**31),
)
def test_what_is_packed_comes_back_to_the_bit(
    dtype: torch.dtype, shape: list[int], share: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    there = torch.rand(shape, generator=generator) < share
    drawn = torch.randn(shape, generator=generator) * 40
    tensor = torch.where(there, drawn, torch.zeros(())).to(dtype)  # drawn * 0 may be -0.0
    packed = pack(tensor)
    num_there = int(torch.count_nonzero(tensor))
    length = mask_bytes(tensor.numel()) + num_there * tensor.element_size()
    if packed is None:
        assert length > WORTH_WHILE * tensor.nbytes
        return
    assert packed.nbytes == length <= WORTH_WHILE * tensor.nbytes
    meta = describe(tensor, PACKED)
    assert torch.equal(from_buffer(meta, to_buffer(packed)), tensor)


def test_what_only_looks_like_zero_or_like_a_number_stays() -> None:
    odd = torch.tensor([-0.0, float("nan"), float("inf"), 1e-45, -1.0])
    tensor = torch.cat((odd, torch.zeros(64)))
    packed = pack(tensor)
    assert packed is not None
    back = unpack(to_buffer(packed), tensor.dtype, tuple(tensor.shape))
    assert torch.equal(back.view(torch.int32), tensor.view(torch.int32))


def test_a_view_that_is_not_in_order_is_packed_in_order() -> None:
    tensor = (torch.arange(48.0).view(6, 8) * (torch.arange(8) % 2)).t()
    packed = pack(tensor)
    assert packed is not None
    assert torch.equal(unpack(to_buffer(packed), tensor.dtype, (8, 6)), tensor)


@pytest.mark.parametrize("buffer", [b"\x80", b"\x80\0\0\0", b"\0\0\0\0\0", b""])
def test_a_mask_that_does_not_fit_is_a_wire_error(buffer: bytes) -> None:
    with pytest.raises(WireError, match="its mask needs"):
        unpack(memoryview(buffer), torch.float32, (3,))
