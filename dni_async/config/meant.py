"""What somebody may have meant who wrote a name that there is not, or is not any more."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["GONE", "OTHERS", "did_you_mean", "did_you_mean_file", "nearest"]
__all__ += ["unknown_variables"]

NEAR = 0.7  # of two words alike, as difflib measures it
PREFIX = "DNI_"
GONE = {
    "insecure_without_keys": "is gone, as every run has keys: those of --keys DIR, or its own, "
    "which the line that it prints for others holds; leave it out"
}
"""Settings that there were: what is said of each who uses it."""
_GONE_VARIABLES = {
    "DNI_RUN_ID": "is no password any more: start workers by the line that the launcher prints, or "
    "both sides with --keys DIR, and unset it"
}
# Of this project, beside its settings: what launchers hand on, and what docker/ reads.
OTHERS = (
    "GIVEN", "INVITATION", "SCRATCH", "WORKER_[A-Z_]+",
    "IMAGE", "USER", "STAGE_CPUS", "STAGE_MEMORY", "COORDINATOR_CPUS", "COORDINATOR_MEMORY",
    "PATIENCE_S",
)  # fmt: skip
_OF_SERVICES = r"[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
_OTHERS = re.compile(f"{PREFIX}({'|'.join((*OTHERS, _OF_SERVICES))})")


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


def unknown_variables(environment: Iterable[str], known: Collection[str]) -> Iterator[str]:
    """A sentence for each environment variable that begins as a setting's does, and is none.

    known: the settings' names, which begin with DNI_. What is no setting and has a meaning all the
    same is left alone: see OTHERS, and what Kubernetes makes from the name of a service.
    """
    endings = {name.removeprefix(PREFIX): name for name in known}
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in known or _OTHERS.fullmatch(name):
            continue
        ending = name.removeprefix(PREFIX)
        if gone := _GONE_VARIABLES.get(name) or GONE.get(ending.lower()):
            yield f"{name} in the environment {gone}"
            continue
        found = nearest(ending, endings)
        hint = "" if found is None else f"; did you mean {endings[found]!r}?"
        yield f"{name} in the environment is no setting{hint or '; unset it'}"
