"""Torch's threads in a process that trains."""

from __future__ import annotations

import torch

__all__ = ["prepare_torch"]


def prepare_torch(num_threads: int) -> None:
    """Give this process its thread budget and flush denormals.

    Call before the first parallel operation: threads started later inherit the flush mode.
    Gradients of a batch learnt by heart go denormal, and every product with them costs 10x.
    """
    torch.set_flush_denormal(True)
    torch.set_num_threads(num_threads)
