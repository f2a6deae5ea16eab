"""What cannot be cut, in one sentence, with the user's own line."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

__all__ = ["Unsplittable", "user_line"]

_NOT_THEIRS = (Path(__file__).resolve().parents[3], Path(torch.__file__).resolve().parent)
_theirs: dict[str, bool] = {}  # by the name of a file


class Unsplittable(Exception):
    """The text says what is in the way and what to change; without the name of the setting."""


def user_line() -> str:
    """``file.py:12`` of the innermost frame that is neither torch's nor ours."""
    frame = sys._getframe(1)
    while frame.f_back is not None and not _is_theirs(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _is_theirs(name: str) -> bool:
    known = _theirs.get(name)
    if known is None:
        path = Path(name)
        is_ours = any(path.is_relative_to(folder) for folder in _NOT_THEIRS)
        known = _theirs[name] = not is_ours and not name.startswith("<frozen")
    return known
