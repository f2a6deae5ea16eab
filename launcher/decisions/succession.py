"""Puts a new worker in the place of one that has died, and tells its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dni_async.errors import WorkerDied
from dni_async.launcher.decisions.roster import Roster
from dni_async.launcher.decisions.vacancies import Replacements, Vacancy
from dni_async.wire.messages import CoordinatorMessage, InboxMoved, NeighbourReplaced, Start, Stop

__all__ = ["Replacing"]


class _Welcome(Protocol):
    def __call__(self, stage: int, *, peer: str) -> CoordinatorMessage:
        """What a replacement is told of the run; peer: the inbox above it, empty for the head."""


class Replacing:
    """Fills vacancies: the stage above opens a new inbox, the new worker connects to it, and the
    stage below connects to the new worker. All others keep their processes, weights and work.

    send: to the worker of a stage, if that is there. start: a worker of a stage and incarnation.
    timeout_s: how long the replacement at a stage may take.
    """

    def __init__(
        self,
        roster: Roster,
        replacements: Replacements,
        *,
        send: Callable[[int, CoordinatorMessage], None],
        start: Callable[[int, int], None],
        welcome: _Welcome,
        timeout_s: Callable[[int], float],
    ) -> None:
        self._roster = roster
        self._replacements = replacements
        self._send = send
        self._start = start
        self._welcome = welcome
        self._timeout_s = timeout_s

    def vacate(self, stage: int, now: float, cause: str, code: int) -> None:
        """The stage's worker has died; code: the run's, if that ends it after all."""
        self._open(self._replacements.lose(stage, now, cause, code))
        for neighbour in (stage - 1, stage + 1):
            vacancy = self._replacements.open.get(neighbour)
            if vacancy is not None and vacancy.is_welcomed:  # and may wait for the one that died
                vacancy.is_leaving = True
                self._send(neighbour, Stop(self._roster.run_id, "a neighbour has died", True))

    def begin_again(self, stage: int, now: float) -> None:
        """A replacement has left, as it was asked to."""
        self._open(self._replacements.begin_again(stage, now))

    def hear_inbox(self, message: InboxMoved) -> None:
        """The stage above a vacancy listens for the replacement."""
        vacancy = self._replacements.open.get(message.stage - 1)
        if vacancy is not None and vacancy.incarnation == message.incarnation:
            vacancy.has_inbox = True
            self._roster.move(message)

    def seat(self, stage: int) -> Vacancy | None:
        """A replacement is ready: it begins at once, unless it was asked to leave.

        The vacancy that it fills, if it does.
        """
        if self._replacements.open[stage].is_leaving:
            return None
        self._roster.ready.add(stage)
        self._send(stage, Start(self._roster.run_id))
        return self._replacements.seat(stage)

    def fill(self, now: float) -> None:
        """Do what may be done by now. Raises WorkerDied where nobody can take the place."""
        for vacancy in list(self._replacements.open.values()):
            if vacancy.stage + 1 in self._roster.left:
                raise WorkerDied(
                    f"{vacancy.cause}\nthe stages above had left already", vacancy.code
                )
            timeout_s = self._timeout_s(vacancy.stage)
            if now - vacancy.begins_at > timeout_s:
                waited = f"its replacement was not ready in {timeout_s:.0f} s"
                raise WorkerDied(f"{vacancy.cause}\n{waited}", vacancy.code)
            if not vacancy.is_asked and now >= vacancy.begins_at:
                vacancy.is_asked = True
                self._start(vacancy.stage, vacancy.incarnation)
            if not vacancy.is_welcomed and vacancy.stage in self._roster.hellos:
                self._introduce(vacancy)

    def _open(self, vacancy: Vacancy) -> None:
        self._roster.vacate(vacancy.stage, vacancy.incarnation)
        run_id = self._roster.run_id
        if self._is_training(vacancy.stage + 1):
            message = NeighbourReplaced(run_id, "below", vacancy.incarnation, "")
            self._send(vacancy.stage + 1, message)

    def _introduce(self, vacancy: Vacancy) -> None:
        """Welcome the replacement once it is known where to connect, and tell the stage below."""
        stage = vacancy.stage
        if not self._knows_inbox_above(vacancy):
            return
        vacancy.is_welcomed = True
        self._send(stage, self._welcome(stage, peer=self._roster.peer_of(stage)))
        if self._is_training(stage - 1):
            endpoint = self._roster.peer_of(stage - 1)
            run_id = self._roster.run_id
            self._send(stage - 1, NeighbourReplaced(run_id, "above", vacancy.incarnation, endpoint))

    def _knows_inbox_above(self, vacancy: Vacancy) -> bool:
        """Whether it is known where the replacement connects to."""
        above = vacancy.stage + 1
        if above == self._roster.num_stages:
            return True
        if above in self._replacements.open:
            return above in self._roster.hellos
        return vacancy.has_inbox

    def _is_training(self, stage: int) -> bool:
        return stage in self._roster.ready and stage not in self._replacements.open
