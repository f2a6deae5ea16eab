"""Values as rows of report.json, with as many digits as mean something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

__all__ = ["rounded"]


def rounded(row: Any, digits: Mapping[str, int | None]) -> dict[str, Any]:
    """The fields of a dataclass, those in digits rounded to so many; None makes whole numbers."""
    values = {each.name: getattr(row, each.name) for each in fields(row)}
    return {
        name: value if name not in digits or value is None else round(value, digits[name])
        for name, value in values.items()
    }
