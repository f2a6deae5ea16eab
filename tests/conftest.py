"""What all tests share, from their beginning to their end."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import settings

from dni_async.system.machine import has_nvidia_device
from tests.forked import end_zygote


def pytest_configure(config: pytest.Config) -> None:
    """One thread for what tests compute: idle ones that spin take the cores from processes.

    No example of hypothesis has to be done in time: another process may have the core.
    Where nothing says which device, tests look at what a CPU computes, to the bit: GPUs are hidden
    from all but those that ask for one, with -m gpu.
    """
    torch.set_num_threads(1)
    if has_nvidia_device() and "gpu" not in config.option.markexpr:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")


def pytest_sessionfinish() -> None:
    """The process that commands were forked from goes last."""
    end_zygote()
