"""One thing that was looked at on a host: whether it is good, and what to do where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Verdict"]

Verdict = Literal["good", "doubtful", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """name: what was looked at. what: a sentence. remedy: what to do; empty where it is good."""

    name: str
    verdict: Verdict
    what: str
    remedy: str = ""
