"""Why a run ends: the first failure, in words for the user."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from dni_async.launcher.decisions.joiners import Gone
from dni_async.launcher.decisions.vacancies import Replacements
from dni_async.launcher.places.logs import last_line
from dni_async.launcher.plan.plan import Plan
from dni_async.wire.messages import Failed

__all__ = [
    "Cause",
    "cause_of_exit",
    "cause_of_failure",
    "cause_of_loss",
    "may_replace",
    "why_final",
]


@dataclass(slots=True)
class Cause:
    """A failure. exit: stage and its process's code. text: the user's last lines.

    deadline: until when the worker's own words may still arrive. is_told: these are its own words.
    """

    exit: tuple[int, int]
    code: int
    text: str
    deadline: float
    is_told: bool = False


def cause_of_exit(plan: Plan, stage: int, pid: int, code: int, log: Path, deadline: float) -> Cause:
    """A process has ended. code: its exit code, or minus the signal that killed it."""
    how = f"exited with code {code}"
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    text = f"stage {stage} ({plan.devices[stage]}, pid {pid}) {how}; its log is {log}"
    if code > 0 and (said := last_line(log)):
        text += f", which ends: {said}"
    return Cause((stage, code), (code if code >= 0 else 128 - code) or 1, text, deadline)


def cause_of_loss(stage: int, gone: Gone, deadline: float) -> Cause:
    """One who joined is not there any more."""
    text = f"stage {stage} ({gone.joiner.join.device}, on {gone.joiner.name}) was lost: {gone.why}"
    return Cause((stage, -1), 1, text, deadline)


def cause_of_failure(message: Failed, code: int, now: float) -> Cause:
    """A worker has said why it fails. code: the run's exit code."""
    place = f"stage {message.stage} ({message.device})"
    text = f"{place} failed:\n{message.traceback.rstrip()}\n{place}: {message.summary}"
    return Cause((message.stage, code), code, text, now, is_told=True)


def may_replace(plan: Plan, replacements: Replacements) -> bool:
    """Whether this run goes on when one of its workers dies."""
    is_decoupled = plan.rule.allows_replacement and plan.config.unlock != "forward"
    return is_decoupled and plan.num_stages > 1 and not replacements.are_used_up


def why_final(plan: Plan, replacements: Replacements) -> str:
    """What to add to the cause where workers were to be replaced, but may not be or no more."""
    config = plan.config
    if config.max_restarts == 0 or may_replace(plan, replacements):
        return ""
    if not plan.rule.allows_replacement:
        why = "which is exact" if plan.rule.is_exact else "which may lose no batch"
        return (
            f"; with rule {config.rule}, {why}, no worker is replaced: --resume continues a run "
            "from its last checkpoint"
        )
    if config.unlock == "forward":
        return "; with --unlock forward no worker is replaced"
    if plan.num_stages == 1:
        return "; nobody else knows how far a stage alone has come: --resume continues its run"
    first = replacements.causes[0]
    return f"; max_restarts {config.max_restarts} is used up, and this came first:\n{first}"
