"""The folder of what a run's processes make for a while, and what they leave when killed.

A process of torch's DataLoader that is killed between the making of a tensor's shared memory and
the forgetting of its name leaves that name: once in twenty times where it makes batch on batch.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

__all__ = ["SCRATCH", "remove_scratch", "use_scratch"]

SCRATCH: Final = "DNI_SCRATCH"
"""The environment variable that names the folder to the processes of a run."""

_SHARED: Final = Path("/dev/shm")
_MARK: Final = "makes-tensors-"
_PARTING_S: Final = 2.0  # for one that has been killed to be gone


def use_scratch() -> None:
    """Have this process, which hands tensors to another, make temporary files in the folder.

    It leaves its number there, by which remove_scratch finds what it may leave behind. Without a
    folder nothing is done.
    """
    folder = os.environ.get(SCRATCH)
    if folder:
        tempfile.tempdir = folder
        Path(folder, f"{_MARK}{os.getpid()}").touch()


def remove_scratch(folder: str) -> None:
    """Remove the folder, and the shared memory of those who have used it and are gone."""
    makers = [int(path.name.removeprefix(_MARK)) for path in Path(folder).glob(f"{_MARK}*")]
    for pid in filter(_is_gone, makers):
        for segment in _SHARED.glob(f"torch_{pid}_*"):
            with suppress(OSError):
                segment.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _is_gone(pid: int) -> bool:
    """Whether that process has ended, or does so soon; else another may have its number by now."""
    try:
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            process.wait(_PARTING_S)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
    return True
