"""Which stages have lost their worker, and who may take the place when. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Replacements", "Vacancy"]

QUICK_S = 10.0  # a stage that dies again so soon after its replacement was asked for ...
BACK_OFF_S = 0.5  # ... waits this long for the next one, and twice as long each time
MAX_BACK_OFF_S = 8.0


@dataclass(slots=True)
class Vacancy:
    """A stage whose worker has died, until its replacement trains.

    incarnation: of the replacement. died_at, begins_at: when, in seconds of the caller's clock.
    cause, code: why the worker died, and the run's exit code if that ends it. has_inbox: the stage
    above has opened one for this incarnation. is_leaving: was asked to, before it was
    ready.
    """

    stage: int
    incarnation: int
    died_at: float
    begins_at: float
    cause: str
    code: int
    is_asked: bool = False
    is_welcomed: bool = False
    is_leaving: bool = False
    has_inbox: bool = False


class Replacements:
    """The vacancies of a run in which workers may be replaced max_restarts times in all.

    open: by stage, no replacement is ready yet. untried: it is, but has made no update yet.
    """

    def __init__(self, max_restarts: int) -> None:
        self.max_restarts = max_restarts
        self.open: dict[int, Vacancy] = {}
        self.untried: dict[int, Vacancy] = {}
        self.causes: list[str] = []
        self._incarnations: dict[int, int] = {}
        self._delays: dict[int, tuple[float, float]] = {}  # last begins_at, and its delay

    @property
    def are_used_up(self) -> bool:
        """Whether no more workers are replaced."""
        return len(self.causes) >= self.max_restarts

    def incarnation(self, stage: int) -> int:
        """Of the worker that hosts the stage, or is to."""
        return self._incarnations.get(stage, 0)

    def lose(self, stage: int, now: float, cause: str, code: int = 1) -> Vacancy:
        """The stage's worker has died: a vacancy, to be filled at once or after a while."""
        self.causes.append(cause)
        earlier = self.open.get(stage) or self.untried.pop(stage, None)
        vacancy = self._vacate(stage, now, now + self._delay_s(stage, now), cause, code)
        if earlier is not None:
            vacancy.died_at = earlier.died_at  # the stage has not trained since
        return vacancy

    def begin_again(self, stage: int, now: float) -> Vacancy:
        """A replacement that was being seated had to leave, for a neighbour died meanwhile."""
        earlier = self.open[stage]
        vacancy = self._vacate(stage, now, now, earlier.cause, earlier.code)
        vacancy.died_at = earlier.died_at
        return vacancy

    def seat(self, stage: int) -> Vacancy:
        """The replacement is ready."""
        vacancy = self.untried[stage] = self.open.pop(stage)
        return vacancy

    def _vacate(self, stage: int, now: float, begins_at: float, cause: str, code: int) -> Vacancy:
        self._incarnations[stage] = self.incarnation(stage) + 1
        vacancy = Vacancy(stage, self._incarnations[stage], now, begins_at, cause, code)
        self.open[stage] = vacancy
        return vacancy

    def _delay_s(self, stage: int, now: float) -> float:
        """0, or longer each time for a stage that dies again soon."""
        began_at, delay_s = self._delays.get(stage, (-QUICK_S, 0.0))
        is_quick = now - began_at < QUICK_S
        delay_s = min(max(2 * delay_s, BACK_OFF_S), MAX_BACK_OFF_S) if is_quick else 0.0
        self._delays[stage] = (now + delay_s, delay_s)
        return delay_s
