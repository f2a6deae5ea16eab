"""What all tests share, from their beginning to their end."""

from __future__ import annotations

import torch
from hypothesis import settings

from tests.forked import end_zygote


def pytest_configure() -> None:
    """One thread for what tests compute: idle ones that spin take the cores from processes.

    No example of hypothesis has to be done in time: another process may have the core.
    """
    torch.set_num_threads(1)
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")


def pytest_sessionfinish() -> None:
    """The process that commands were forked from goes last."""
    end_zygote()
