"""Text that others wrote, made fit for a terminal, a page and a file."""

from __future__ import annotations

import re
from html import escape
from typing import Final
from urllib.parse import urlsplit

__all__ = ["html_of", "legible", "without_password"]

# What commands a terminal, turns the direction of reading, or has no place in UTF-8 or in XML.
# Line ends and tabs may stay.
_UNFIT: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def legible(text: str) -> str:
    """text with what only machines read spelt out: an escape character becomes ``\\x1b``."""
    return _UNFIT.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


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
