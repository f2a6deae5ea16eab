"""What a short trial of a candidate has shown, and what all of them come to; no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dni_async.config.run_config import RunConfig

__all__ = ["Trial", "better_half", "chosen", "outcome"]

AS_GOOD: Final = 1.01
"""A loss of so many times the best one is as good."""


@dataclass(slots=True)
class Trial:
    """A candidate of ``--rule auto``. notes: what the user is to know of it.

    losses: on what is held back, after each part; inf where it diverged. failed: why it ended
    early. is_left: others learnt more. seconds: of all parts, with their tests.
    """

    name: str
    config: RunConfig
    notes: list[str] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    failed: str = ""
    is_left: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether it may be trained further."""
        return not self.failed and not self.is_left

    def hear(self, answer: Mapping[str, Any]) -> None:
        """What its process has said."""
        if "failed" in answer:
            self.failed = str(answer["failed"])
        elif "loss" in answer:
            self.losses.append(float(answer["loss"]))
            self.seconds += float(answer["seconds"])
            if not math.isfinite(self.losses[-1]):
                self.failed = "the loss on what is held back is not finite"

    def to_dict(self, part: int) -> dict[str, Any]:
        """As report.json has it. part: updates of each."""
        updates = part * len(self.losses)
        return {
            "name": self.name,
            "updates": updates,
            "losses": [round(loss, 6) if math.isfinite(loss) else None for loss in self.losses],
            "ms_per_update": round(1e3 * self.seconds / updates, 3) if updates else None,
            "failed": self.failed or None,
        }


def better_half(losses: Mapping[str, float]) -> list[str]:
    """The names that go on, in their order: those of the lower losses, and always the first.

    Of an odd number the larger half. Successive halving (Jamieson and Talwalkar 2016, 1502.07943).
    """
    ranked = sorted(losses, key=losses.__getitem__)
    kept = {*ranked[: -(-len(ranked) // 2)], *list(losses)[:1]}
    return [name for name in losses if name in kept]


def chosen(losses: Mapping[str, float]) -> str:
    """The first that is as good as the best, if that is the first of all; else the best."""
    names: Sequence[str] = list(losses)
    best = min(names, key=losses.__getitem__)
    return names[0] if losses[names[0]] <= AS_GOOD * losses[best] else best


def outcome(
    trials: Sequence[Trial], part: int, why_not: str = "", *, ran_out: bool = False
) -> tuple[dict[str, Any], Trial]:
    """What is reported, with the sentence that the user is told, and the trial that is taken.

    part: updates of each part. why_not: why none was made. ran_out: of time, so that all are judged
    after as many parts as each has.
    """
    whole = [trial for trial in trials if not trial.failed]
    last = [trial for trial in whole if trial.goes_on] or whole
    parts = min((len(trial.losses) for trial in last), default=0)
    losses = {trial.name: trial.losses[parts - 1] for trial in last} if parts else {}
    name = chosen(losses) if losses else trials[0].name
    taken = next(trial for trial in trials if trial.name == name)
    if why_not:
        said = f"rule auto: {name}, {why_not}"
    elif not parts:
        said = f"rule auto: {name}, as no trial came to anything"
        said += " in time" if ran_out else ""
    else:
        said = f"rule auto: {name}, with loss {losses[name]:.4g} on training samples held back"
        said += f" after {parts * part} updates"
        said += ", when time ran out" if ran_out else ""
    others = [_said(trial, losses, part) for trial in trials if trial is not taken and not why_not]
    if others:
        said += f"; {', '.join(others)}"
    rows = [trial.to_dict(part) for trial in trials]
    return {"taken": name, "sentence": said, "ran_out": ran_out, "candidates": rows}, taken


def _said(trial: Trial, losses: Mapping[str, float], part: int) -> str:
    """Of one that is not taken."""
    if trial.failed:
        return f"{trial.name} failed ({trial.failed})"
    if trial.name in losses:
        return f"{trial.name} {losses[trial.name]:.4g}"
    if not trial.losses:
        return f"{trial.name} not tried"
    return f"{trial.name} {trial.losses[-1]:.4g} after {part * len(trial.losses)}"
