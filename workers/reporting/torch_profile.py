"""Runs torch.profiler over a few updates of one worker, from a warm state on."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from dni_async.files.writing import whole

__all__ = ["FIRST_UPDATE", "LAST_UPDATE", "TorchProfile"]

FIRST_UPDATE = 20  # by then kernels are chosen and memory is warm
LAST_UPDATE = 40


class TorchProfile:
    """Records operators between two updates and leaves a Chrome trace at path.

    A run that ends sooner leaves what there is; one that never gets to first leaves nothing.
    """

    def __init__(self, path: Path, *, first: int = FIRST_UPDATE, last: int = LAST_UPDATE) -> None:
        self._path = path
        self._first = first
        self._last = last
        self._profiler: torch.profiler.profile | None = None
        with _profiler():
            pass  # the first one loads its libraries, for seconds: before the run begins

    def updated(self, version: int) -> None:
        """The stage has made its version-th update."""
        if version == self._first:
            self._profiler = _profiler()
            self._profiler.start()
        elif version == self._last:
            self.finish()

    def finish(self) -> None:
        """Stop recording and write; does nothing when that is done."""
        if self._profiler is None:
            return
        profiler, self._profiler = self._profiler, None
        profiler.stop()
        with whole(self._path, writer=str(os.getpid())) as part:
            profiler.export_chrome_trace(str(part))


def _profiler() -> torch.profiler.profile:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=activities)
