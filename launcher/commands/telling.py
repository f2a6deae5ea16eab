"""How a command says a line: legibly, whoever wrote it."""

from __future__ import annotations

import json
from typing import Any

from dni_async.system import output
from dni_async.wire.foreign_text import legible

__all__ = ["tell", "tell_json"]


def tell(text: str, *, to_stderr: bool = False) -> None:
    """Lines that may hold anybody's text, on standard output or error."""
    (output.complain if to_stderr else output.say)(legible(text))


def tell_json(value: Any) -> None:
    """A value for programs; what commands a terminal is spelt as JSON spells it."""
    tell(json.dumps(value, indent=1).replace("\x7f", "\\u007f"))
