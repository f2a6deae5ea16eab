"""Workers that are lost: replaced where another can go on, else the cause by which the run ends."""

from __future__ import annotations

import time

from dni_async.errors import WorkerDied
from dni_async.launcher.coordination.causes import (
    Cause,
    cause_of_exit,
    cause_of_failure,
    cause_of_loss,
    may_replace,
    why_final,
)
from dni_async.launcher.coordination.ledger import Account
from dni_async.launcher.coordination.members import Members
from dni_async.launcher.coordination.stuck import StuckWorkers
from dni_async.launcher.decisions.joiners import Gone
from dni_async.launcher.decisions.roster import Roster
from dni_async.launcher.decisions.succession import Replacing
from dni_async.launcher.decisions.vacancies import Replacements
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.places.local import Exited, Started
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.wire.messages import Failed

__all__ = ["Losses"]

LAST_WORDS_S = 0.5  # a worker's Failed may arrive after its end was noticed


class Losses:
    """The losses of one run. has_started, is_draining: told by who knows."""

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        display: Display,
        account: Account,
        members: Members,
        roster: Roster,
        replacements: Replacements,
        replacing: Replacing,
        stuck: StuckWorkers,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._display = display
        self._account = account
        self._members = members
        self._roster = roster
        self._replacements = replacements
        self._replacing = replacing
        self._stuck = stuck
        self._cause: Cause | None = None
        self._unexplained: dict[int, Cause] = {}  # by stage: ends with an error code
        self.has_started = False
        self.is_draining = False

    def hear_process(self, event: Started | Exited) -> None:
        """A process of this host has begun or ended."""
        if isinstance(event, Started):
            self._roster.pids[event.stage] = event.pid
            return
        stage = event.stage
        is_old = self._roster.pids.get(stage) != event.pid
        if is_old or (stage in self._roster.left and event.code == 0):
            return
        now = time.monotonic()
        cause = cause_of_exit(
            self._plan, stage, event.pid, event.code, self._folder.log(stage), now + LAST_WORDS_S
        )
        self._stuck.reword(cause, event.pid)
        if event.code == 0 and stage in self._replacements.open:
            self._replacing.begin_again(stage, now)
        elif event.code < 0:
            self._lose(cause, now)
        else:
            self._unexplained[stage] = cause

    def hear_gone(self, gone: Gone) -> None:
        """One who joined is not there any more: a spare, one under way to its stage, or a stage."""
        stage, now = gone.joiner.stage, time.monotonic()
        if stage is None or stage not in self._roster.hellos:
            self._display.note(f"{gone.joiner.name}: {gone.why}")
            if stage is not None:
                self._members.start(stage, self._replacements.incarnation(stage))
            return
        if stage in self._roster.left:
            return
        self._members.dismiss(stage, gone)
        if not self.has_started and not self._roster.all_admitted:  # nobody else knows of it yet
            self._display.note(f"stage {stage} ({gone.joiner.name}): {gone.why}")
            self._roster.vacate(stage, 0)
            self._members.start(stage, 0)
            return
        if gone.has_left and stage in self._replacements.open:
            self._replacing.begin_again(stage, now)
        else:
            self._lose(cause_of_loss(stage, gone, now), now)

    def explain(self, now: float) -> None:
        """A worker that ended with an error code, and has said nothing since, is replaced."""
        for stage, cause in list(self._unexplained.items()):
            if now >= cause.deadline or not self._is_replaceable(cause):
                del self._unexplained[stage]
                self._lose(cause, now)

    def check(self, now: float) -> None:
        """Raises WorkerDied when the run has a cause to end, and all has been heard of it."""
        if self._cause is not None and now >= self._cause.deadline:
            raise WorkerDied(self._cause.text, self._cause.code)

    def hear_bye(self, stage: int) -> None:
        """The stage's worker ends well, whatever its exit looked like."""
        if self._cause is not None and self._cause.exit == (stage, 0):
            self._cause = None  # its end was noticed before its Bye was read
        self._unexplained.pop(stage, None)

    def hear_failed(self, message: Failed) -> None:
        """The first worker's last words are the run's; what others say follows from it."""
        if self._cause is None:
            self._cause = self._unexplained.pop(message.stage, None)
        if self._cause is not None and (
            self._cause.is_told or self._cause.exit[0] != message.stage
        ):
            return
        code = 1 if self._cause is None else self._cause.code
        self._cause = cause_of_failure(message, code, time.monotonic())

    def _lose(self, cause: Cause, now: float) -> None:
        """Have the worker that died replaced; else that is the cause by which the run ends."""
        stage, _ = cause.exit
        if not self._is_replaceable(cause):
            if self._cause is None:
                cause.text += why_final(self._plan, self._replacements)
                self._cause = cause
            return
        self._replacing.vacate(stage, now, cause.text, cause.code)
        self._account.enter_death(stage, cause.text)
        count = f"{len(self._replacements.causes)} of {self._replacements.max_restarts}"
        self._display.note(f"{cause.text}; it is replaced ({count})")

    def _is_replaceable(self, cause: Cause) -> bool:
        """Whether another worker could take the place and learn what this one knew."""
        is_over = self.is_draining or self._account.last_epoch == self._plan.config.epochs
        may = self.has_started and not is_over and not self._roster.left
        has_failed = self._cause is not None or cause.exit[1] == 0
        return may and not has_failed and may_replace(self._plan, self._replacements)
