"""What runs are called where several stand beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dni_async.files import names

__all__ = ["named"]


def named(paths: Sequence[Path]) -> list[str]:
    """A name for each run: that of its folder, or the path as given where several are called so.

    paths: run directories, their reports, or reports elsewhere, which go by their own names.
    """
    places = [path.parent if path.name == names.REPORT else path for path in paths]
    short = [place.resolve().name for place in places]
    return [
        name if short.count(name) == 1 else str(path)
        for name, path in zip(short, paths, strict=True)
    ]
