"""What the doctor found, all together: whether it passes, and how many of each verdict."""

from __future__ import annotations

from collections.abc import Sequence

from dni_async.launcher.plan.host.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "count", "is_passed"]


def is_passed(findings: Sequence[Finding]) -> bool:
    """Whether nothing is bad."""
    return all(finding.verdict != "bad" for finding in findings)


def count(findings: Sequence[Finding]) -> str:
    """How many of each, for people."""
    verdicts = [finding.verdict for finding in findings]
    kinds: tuple[Verdict, ...] = ("good", "doubtful", "bad")
    return ", ".join(f"{verdicts.count(kind)} {kind}" for kind in kinds)
