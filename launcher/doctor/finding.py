"""What the doctor found: one thing, whether it is good, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Verdict", "count", "is_passed"]

Verdict = Literal["good", "doubtful", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """name: what was looked at. what: a sentence. remedy: what to do; empty where it is good."""

    name: str
    verdict: Verdict
    what: str
    remedy: str = ""


def is_passed(findings: Sequence[Finding]) -> bool:
    """Whether nothing is bad."""
    return all(finding.verdict != "bad" for finding in findings)


def count(findings: Sequence[Finding]) -> str:
    """How many of each, for people."""
    verdicts = [finding.verdict for finding in findings]
    kinds: tuple[Verdict, ...] = ("good", "doubtful", "bad")
    return ", ".join(f"{verdicts.count(kind)} {kind}" for kind in kinds)
