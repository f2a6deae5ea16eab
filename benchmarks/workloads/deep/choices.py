"""What ``--rule auto`` takes on a row, beside what each of its candidates comes to by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.workloads.deep.arms import Arm
from benchmarks.workloads.deep.entries import Entry
from benchmarks.workloads.deep.rows import Row
from benchmarks.workloads.deep.running import modules_are_found
from dni_async.config.candidates import CANDIDATES
from dni_async.config.run_config import RunConfig
from dni_async.launcher.jobs.rule_choice import choose_rule
from dni_async.launcher.plan.plan import make_plan, regrouped

__all__ = ["MOST_POINTS", "MOST_RATIO", "Choice", "candidate_arms", "choose", "verdict"]

MOST_POINTS, MOST_RATIO = 0.3, 1.01  # behind the best rule by hand, as an error and as a loss
SECONDS = 3600.0  # beside other programs: what is found is then what a quiet machine finds


@dataclass(frozen=True, slots=True)
class Choice:
    """Of a row and a seed. told: as report.json has it. entries: of the row's candidates."""

    row: Row
    seed: int
    told: dict[str, Any]
    entries: Sequence[Entry]

    @property
    def _qualities(self) -> dict[str, float]:
        """By candidate that trains, of this seed: what is trained in order is the same again."""
        return {
            entry.arm.name: self.row.quality.of(result)
            for entry in self.entries
            for result in entry.seeds
            if result["seed"] == self.seed
        }

    @property
    def best(self) -> str:
        """The candidate that was best by hand."""
        return min(self._qualities, key=self._qualities.__getitem__)

    @property
    def behind(self) -> float:
        """How far what was taken is behind that: points of error, or the ratio of losses."""
        taken, best = self._qualities[self.told["taken"]], self._qualities[self.best]
        return self.row.quality.behind([taken], [best])

    def to_dict(self) -> dict[str, Any]:
        """As the JSON shows it."""
        return {
            "row": self.row.name,
            "seed": self.seed,
            "taken": self.told["taken"],
            "best": self.best,
            "behind": self.behind,
            "figure": self.row.quality.figure,
            "verdict": judged(self.row, self.behind),
            "sentence": self.told["sentence"],
            "candidates": self.told["candidates"],
        }


def candidate_arms(delays: str) -> list[Arm]:
    """An arm for every candidate."""
    return [
        Arm(each.name, settings={"rule": each.rule, **each.settings}, delays=delays)
        for each in CANDIDATES
    ]


def choose(row: Row, config: RunConfig, entries: Sequence[Entry]) -> Choice:
    """Try the candidates as a run of config would. Raises what that does."""
    asked = dataclasses.replace(
        config,
        rule="auto",
        stages=None if row.ranges is None else len(row.ranges),
        partition="even",
    )
    with modules_are_found():
        plan = make_plan(asked)
        if row.ranges is not None:
            plan = regrouped(plan, row.ranges)
        plan = choose_rule(plan, _nobody, _nobody, seconds=SECONDS)
    assert plan.choice is not None
    return Choice(row, config.seed, dict(plan.choice), entries)


def _nobody(_text: str) -> None:
    """Nobody is told how far it is."""


def verdict(choices: Sequence[Choice]) -> str:
    """Of a row: what was taken, and how far that is behind the best by hand, in the mean."""
    row, behind = choices[0].row, fmean(each.behind for each in choices)
    taken = ", ".join(each.told["taken"] for each in choices)
    return f"{taken}: {row.quality.said(behind)} behind the best by hand, {judged(row, behind)}"


def judged(row: Row, behind: float) -> str:
    """What was asked, and met or MISSED."""
    most = MOST_POINTS if row.quality.figure == "error" else MOST_RATIO
    return f"{row.quality.said(most)}: {'met' if round(behind, 4) <= most else 'MISSED'}"
