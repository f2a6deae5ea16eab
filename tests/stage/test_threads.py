"""What a process that trains does to torch's threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture
def flushing() -> None:
    """Skip where the processor cannot flush denormals; leave the mode as it was."""
    can = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    if not can:
        pytest.skip("this processor cannot flush denormals")


TWO_THREADS = """
import torch
from dni_async.stage.threads import prepare_torch
prepare_torch(2)
assert torch.get_num_threads() == 2
tiny = torch.full((1 << 21,), 1, dtype=torch.int32).view(torch.float32)
left = (tiny * 1.0).view(torch.int32)  # each thread multiplies one half
print(*(int(half.count_nonzero()) for half in left.chunk(2)))
"""


@pytest.mark.usefixtures("flushing")
def test_denormals_are_flushed_in_every_thread() -> None:
    """Flushed too late, when threads already run, it is in the first half only."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", TWO_THREADS], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "0"]
