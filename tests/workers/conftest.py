"""What tests of workers in this process need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dni_async.stage.threads import prepare_torch


@pytest.fixture
def as_in_a_worker() -> Iterator[None]:
    """One thread and no denormals, as the processes of a run have it; undone afterwards."""
    num_threads = torch.get_num_threads()
    prepare_torch(1)
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(num_threads)
