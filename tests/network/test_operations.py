"""Arithmetic is counted as the formulas say, without torch's compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from dni_async.network.operations import Operations


@pytest.mark.parametrize(
    ("module", "shape", "products"),
    [
        (nn.Linear(4, 2), (3, 4), 3 * 4 * 2),
        (nn.Conv2d(3, 8, 3, padding=1), (2, 3, 8, 8), 2 * 8 * 3 * 9 * 64),
        (nn.ReLU(), (3, 4), 0),
    ],
    ids=["linear", "convolution", "none"],
)
def test_products_are_counted(module: nn.Module, shape: tuple[int, ...], products: int) -> None:
    counted = Operations()  # type: ignore[no-untyped-call]
    with torch.no_grad(), counted:
        module(torch.zeros(shape))
    assert counted.flops == 2 * products


def test_attention_is_counted_on_a_cpu() -> None:
    counted = Operations()  # type: ignore[no-untyped-call]
    q = torch.zeros(1, 2, 5, 8)
    with torch.no_grad(), counted:
        nn.functional.scaled_dot_product_attention(q, q, q)
    assert counted.flops == 2 * 2 * (2 * 5 * 5 * 8)


def test_counting_imports_no_compiler() -> None:
    code = """
import sys
import torch
from dni_async.network.operations import Operations
with torch.no_grad(), Operations():
    torch.zeros(3, 3) @ torch.zeros(3, 3)
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
