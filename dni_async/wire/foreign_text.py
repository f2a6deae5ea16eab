"""Text that others wrote, made harmless where it comes in, and fit for a page where it goes out.

What peers say is made so by ``wire.codec`` as it decodes, what files hold by ``parsed``: whoever
comes behind those has nothing to remember. A terminal looks once more, in ``terminal.console``.
"""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any, Final
from urllib.parse import urlsplit

__all__ = ["MAX_LINE", "MAX_TEXT", "harmless", "html_of", "legible", "one_line", "parsed"]
__all__ += ["without_password"]

MAX_LINE: Final = 1_000  # characters of a name; the longest path is longer, and nobody reads that
MAX_TEXT: Final = 64 * 1024  # of any text: a long traceback fits

# What commands a terminal, turns the direction of reading, cannot be seen, or has no place in UTF-8
# or in XML. Line ends and tabs may stay, and so may what joins the letters of some scripts.
_UNSEEN: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f"
)
_UNFIT: Final = re.compile(f"[{_UNSEEN}]")
_UNFIT_IN_LINE: Final = re.compile(f"[\t\n{_UNSEEN}]")


def legible(text: str) -> str:
    """text with what only machines read spelt out: an escape character becomes ``\\x1b``."""
    return _UNFIT.sub(_spelt, text)


def one_line(text: str) -> str:
    """The same of a name, which has no second line and at most MAX_LINE characters."""
    return _UNFIT_IN_LINE.sub(_spelt, _cut(text, MAX_LINE))


def harmless(value: Any) -> Any:
    """What a file or a message holds, lists and tables too, with its text legible and bounded.

    Names in a table are lines. What is no text stays as it is.
    """
    if isinstance(value, str):
        return legible(_cut(value, MAX_TEXT))
    if isinstance(value, dict):
        return {
            one_line(name) if isinstance(name, str) else name: harmless(each)
            for name, each in value.items()
        }
    return [harmless(each) for each in value] if isinstance(value, list) else value


def parsed(text: str | bytes) -> Any:
    """What JSON that anybody wrote says, made harmless.

    Raises ValueError where it is none, RecursionError where it is nested too deep.
    """
    return harmless(json.loads(text))


def html_of(value: object) -> str:
    """value as text within HTML, in quotes too."""
    return escape(legible(str(value)))


def without_password(place: str) -> str:
    """A URI as it may be shown and kept: databases have their password in it."""
    try:
        password = urlsplit(place).password
    except ValueError:
        return place
    return place.replace(f":{password}@", ":***@", 1) if password else place


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _spelt(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
