"""Encodings: products with a table are those with the codes."""

from __future__ import annotations

import pytest
import torch

from dni_async.stage.losses.encodings import MAX_WIDTH, Numbers, OneHot, Shares, encoding_of_numbers
from dni_async.stage.losses.interface import Encoding
from tests.stage.test_stage import random

LABELS = torch.tensor([2, 0, -100, 1])
PIXELS = torch.tensor([[[2, 0], [2, 2]], [[1, 1], [-100, 0]]])


@pytest.mark.parametrize(
    ("encoding", "targets", "codes"),
    [
        (OneHot(3, -100), LABELS, [[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0]]),
        (OneHot(3), LABELS.clamp(min=0), [[0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 1, 0]]),
        (Shares(3, -100), PIXELS, [[0.25, 0, 0.75], [0.25, 0.5, 0]]),
        (Shares(3), PIXELS.clamp(min=0), [[0.25, 0, 0.75], [0.5, 0.5, 0]]),
        (Numbers(2), torch.tensor([[1.5, 2.0], [3.0, -1.0]]), [[1.5, 2], [3, -1]]),
        (Numbers(1), torch.tensor([1, 2]), [[1], [2]]),
    ],
)
def test_products_with_a_table(
    encoding: Encoding, targets: torch.Tensor, codes: list[list[float]]
) -> None:
    expected = torch.tensor(codes, dtype=torch.float32)
    assert encoding.width == expected.shape[1]
    assert torch.equal(encoding.codes(targets), expected)
    table, rows = random(encoding.width, 4), random(len(targets), 4, seed=2)
    torch.testing.assert_close(encoding.select(table, targets), expected @ table)
    torch.testing.assert_close(encoding.collect(targets, rows), expected.t() @ rows)


def test_targets_of_too_many_numbers_have_none() -> None:
    assert encoding_of_numbers((3, 64, 64)) is None
    assert encoding_of_numbers((MAX_WIDTH,)).width == MAX_WIDTH  # type: ignore[union-attr]
