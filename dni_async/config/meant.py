"""What somebody may have meant who wrote a name that there is not, or is not any more."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["GONE", "did_you_mean", "did_you_mean_file", "misspelt", "nearest"]

NEAR = 0.7  # of two words alike, as difflib measures it
NEARER = 0.8  # the same, where others may well have meant what they wrote
PREFIX = "DNI_"
GONE = {
    "insecure_without_keys": "is gone, as every run has keys: those of --keys DIR, or its own, "
    "which the line that it prints for others holds; leave it out"
}
"""Settings that there were: what is said of each who uses it."""


def nearest(word: str, known: Iterable[str], *, near: float = NEAR) -> str | None:
    """The one of known that is most like word, whatever its case; None where none is near.

    Of ``module:name`` the name alone may be what was written.
    """
    by_text: dict[str, str] = {}
    for name in known:
        for text in (name, name.rpartition(":")[2]):
            by_text.setdefault(text.lower(), name)
    found = difflib.get_close_matches(word.lower(), by_text, n=1, cutoff=near)
    found += [text for text in by_text if sorted(text) == sorted(word.lower())]  # as tpc of tcp
    return by_text[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], *, near: float = NEAR) -> str:
    """``; did you mean 'adam'?``, of the nearest known name; nothing where none is near."""
    found = nearest(word, known, near=near)
    return "" if found is None or found == word else f"; did you mean {found!r}?"


def did_you_mean_file(path: Path, pattern: str = "*") -> str:
    """The same of a file or folder that is not there: of the names like it in the folder it is in.

    If that folder is not there either, its own name is looked for. pattern: of names that count.
    """
    with suppress(OSError):  # a folder that nobody may look into, a name longer than any
        meant = None if path.exists() else _nearest_file(path, pattern)
        return "" if meant is None else f"; did you mean {str(meant)!r}?"
    return ""


def _nearest_file(path: Path, pattern: str) -> Path | None:
    folder, wrong, below = path.parent, path, Path()
    while not folder.is_dir() and folder != folder.parent:
        folder, wrong, below, pattern = folder.parent, folder, wrong.name / below, "*"
    near = nearest(wrong.name, sorted(found.name for found in folder.glob(pattern)))
    if near is None:
        return None
    meant = folder / near / below
    return meant if meant.exists() else folder / near


def misspelt(environment: Iterable[str], known: Collection[str]) -> Iterator[str]:
    """A sentence for each environment variable that is none of ours, and nearly one.

    Others may begin as ours do: Kubernetes makes some from the names of services. known: ours,
    which begin with DNI_.
    """
    endings = {name.removeprefix(PREFIX): name for name in known}
    for name in environment:
        if not name.startswith(PREFIX) or name in known:
            continue
        found = nearest(name.removeprefix(PREFIX), endings, near=NEARER)
        if found is not None:
            yield (
                f"{name} in the environment changes nothing, as there is no such setting; did you "
                f"mean {endings[found]!r}?"
            )
