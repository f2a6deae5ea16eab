"""The three kinds of text in a message, by how a field is annotated, and what each becomes.

A plain ``str`` is a name that is shown: it arrives as one line that commands no terminal. ``Words``
are sentences, and may have several lines. ``Exact`` is for machines alone, paths above all, and is
shown by nobody: it arrives as it was sent. Whoever adds a field without a thought gets a name.
"""

from __future__ import annotations

import functools
import re
import reprlib
from collections.abc import Callable
from typing import Annotated, Any, Final, get_args, get_origin

from dni_async.errors import WireError
from dni_async.wire.foreign_text import harmless, one_line

__all__ = ["TEXT_CHECKS", "Exact", "Words", "is_label", "plain_of"]

# As config.metric_names has it: fit for a label of Prometheus and a tag of any logger.
_LABEL: Final = re.compile(r"[A-Za-z0-9_.@+-]{1,64}")

KNOWN_LENGTH: Final = 64  # of names that are looked at once

Exact = Annotated[str, "exact"]
Words = Annotated[str, "words"]


def plain_of(annotation: Any) -> Any:
    """The type itself, of one that is annotated with something else than its kind of text."""
    if get_origin(annotation) is Annotated and annotation not in TEXT_CHECKS:
        return get_args(annotation)[0]
    return annotation


def is_label(name: str) -> bool:
    """Whether a metric may be called so."""
    return _LABEL.fullmatch(name) is not None


def _exact(value: Any) -> str:
    if type(value) is not str:
        raise WireError(f"{reprlib.repr(value)} is no string")
    return value


def _words(value: Any) -> str:
    words: str = harmless(_exact(value))
    return words


def _name(value: Any) -> str:
    text = _exact(value)
    return _known_name(text) if len(text) <= KNOWN_LENGTH else one_line(text)


@functools.lru_cache(maxsize=1024)
def _known_name(text: str) -> str:
    """As one_line: every message of a link has the same run_id."""
    return one_line(text)


TEXT_CHECKS: Final[dict[Any, Callable[[Any], str]]] = {str: _name, Words: _words, Exact: _exact}
