"""By which figure of its tests a run is judged, and when that is reason enough to end it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["LOSS", "Goal", "Mode", "Outlook"]

Mode = Literal["max", "min"]
LOSS: Final = "loss"
"""The name of the figure that every test has."""


@dataclass(frozen=True, slots=True)
class Goal:
    """The chosen figure of a test.

    metric: its name, "loss" for the test loss. mode: whether the most or the least is best.
    target: the value that is to be reached; None where there is none. ends_early: a test that
    reaches it is the last. patience: so many epochs without a better test end the run; None: no
    number does.
    """

    metric: str = LOSS
    mode: Mode = "min"
    target: float | None = None
    ends_early: bool = False
    patience: int | None = None

    def figure(self, loss: float | None, metrics: Mapping[str, float]) -> float | None:
        """Its value of a test that came to this loss and these metrics; None if there is none."""
        return loss if self.metric == LOSS else metrics.get(self.metric)

    def is_better(self, figure: float, than: float) -> bool:
        """Whether one value is better than another; NaN never is."""
        return figure > than if self.mode == "max" else figure < than

    def is_reached(self, figure: float) -> bool:
        """Whether a value reaches the target."""
        if self.target is None:
            return False
        return figure >= self.target if self.mode == "max" else figure <= self.target


class Outlook:
    """Whether a run should go on after its tests so far.

    best: the best value that was heard, at the end of best_epoch; None and 0 before the first one.
    """

    def __init__(self, goal: Goal, best: float | None = None, best_epoch: int = 0) -> None:
        self.goal = goal
        self.best = best
        self.best_epoch = best_epoch

    def hear(self, epoch: int, figure: float | None) -> str:
        """A test at the end of epoch; why it should be the last, in a clause, or nothing."""
        goal = self.goal
        if figure is not None and not math.isnan(figure):
            if self.best is None or goal.is_better(figure, self.best):
                self.best, self.best_epoch = figure, epoch
            if goal.ends_early and goal.is_reached(figure):
                return f"the target is reached: {goal.metric} is {figure:.4g}"
        if goal.patience is not None and epoch - self.best_epoch >= goal.patience:
            epochs = f"{epoch - self.best_epoch} epochs"
            best = "" if self.best is None else f" than {self.best:.4g}"
            return f"{goal.metric} has not been better{best} for {epochs}"
        return ""
