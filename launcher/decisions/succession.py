"""Puts a new worker in the place of one that has died, and tells its neighbours.

The stage above a vacancy opens a new inbox, the new worker connects to it, and the stage below
connects to the new worker. All others keep their processes, weights and work.
"""

from __future__ import annotations

from dni_async.launcher.decisions import progress
from dni_async.launcher.decisions.actions import EndRun, RunAction, SendWelcome, StartWorker
from dni_async.launcher.decisions.moving import steps
from dni_async.launcher.decisions.state import RunState, Vacancy
from dni_async.wire.messages import Drain, InboxMoved, NeighbourReplaced, Start, Stop

__all__ = [
    "begin_again",
    "fill",
    "hear_inbox",
    "seat",
    "start",
    "start_over",
    "vacate",
    "welcome",
]


def start(state: RunState, stage: int, incarnation: int) -> list[RunAction]:
    """Have somebody host stage: a new process, or who joins."""
    if not state.terms.is_remote(stage):
        return [StartWorker(stage, incarnation)]
    state.joined.want(stage, incarnation)
    return []


def welcome(state: RunState, stage: int) -> list[RunAction]:
    """Tell the stage's worker its part of the run, once it is known where it connects to."""
    terms, joined = state.terms, state.joined
    num_threads = terms.num_threads
    if joined.host_of(stage) is not None:
        num_threads = terms.asked_threads or joined.num_threads(stage)
    peer = state.roster.peers.get(stage)
    if peer is None:
        return []
    return [
        SendWelcome(
            peer,
            stage,
            above=state.roster.peer_of(stage),
            device=state.device(stage),
            num_threads=num_threads,
            next_batch_id=state.source.next_batch_id if stage == 0 else 0,
            layers=state.moves.layers[stage],
            above_key=state.roster.key_of(stage),
        )
    ]


def vacate(state: RunState, stage: int, why: str, code: int) -> list[RunAction]:
    """The stage's worker has died; code: the run's, if that ends it after all."""
    return _open(state, state.vacancies.lose(stage, state.now, why, code))


def start_over(state: RunState, stage: int, why: str) -> list[RunAction]:
    """The stage's worker has died, and nobody has begun: another one is started.

    So are all others, if they were told of it: they wait for it in the middle of their handshake,
    and know nothing yet that could be lost.
    """
    state.vacancies.deaths.append(why)
    is_known = state.roster.all_admitted
    state.is_welcoming, state.waiting_since = False, state.now
    actions: list[RunAction] = []
    for each in range(state.terms.num_stages) if is_known else (stage,):
        if each != stage:
            stop = Stop(state.terms.run_id, "a worker has died before the start", again=True)
            actions += state.send(each, stop)
            state.joined.dismiss(each)
        state.roster.vacate(each, state.vacancies.succeed(each))
        state.roster.pids.pop(each, None)
        actions += start(state, each, state.vacancies.incarnation(each))
    return actions


def begin_again(state: RunState, stage: int) -> list[RunAction]:
    """A replacement has left, as it was asked to."""
    return _open(state, state.vacancies.begin_again(stage, state.now))


def hear_inbox(state: RunState, message: InboxMoved) -> None:
    """The stage above a vacancy listens for the replacement."""
    vacancy = state.vacancies.open.get(message.stage - 1)
    if vacancy is not None and vacancy.incarnation == message.incarnation:
        vacancy.has_inbox = True
        state.roster.move(message)


def seat(state: RunState, stage: int) -> list[RunAction]:
    """A replacement is ready: it begins at once, unless it was asked to leave.

    A source is told before its first batch that the run ends early, if it does: the stage above may
    have the end of the one before it on its way already, and takes no batch behind that.
    """
    if state.vacancies.open[stage].is_leaving:
        return []
    state.roster.ready.add(stage)
    vacancy = state.vacancies.fill(stage)
    actions: list[RunAction] = []
    if stage == 0:
        state.source.took_over(vacancy.died_at, state.now)
        actions += steps.before_start(state)
        if state.is_draining:
            actions += state.send(0, Drain(state.terms.run_id))
    actions += state.send(stage, Start(state.terms.run_id))
    return actions + steps.seat(state, stage) + progress.ask_again(state, stage)


def fill(state: RunState) -> list[RunAction]:
    """Do what may be done by now; the run ends where nobody can take the place."""
    actions: list[RunAction] = []
    for vacancy in list(state.vacancies.open.values()):
        why = _why_nobody(state, vacancy)
        if why:
            return [*actions, EndRun("worker died", f"{vacancy.why}\n{why}", vacancy.code)]
        if not vacancy.is_asked and state.now >= vacancy.begins_at:
            vacancy.is_asked = True
            actions += start(state, vacancy.stage, vacancy.incarnation)
        if not vacancy.is_welcomed and vacancy.stage in state.roster.hellos:
            actions += _introduce(state, vacancy)
    return actions


def _why_nobody(state: RunState, vacancy: Vacancy) -> str:
    """Why nobody can take the place any more; "" while somebody can."""
    if vacancy.stage + 1 in state.roster.left:
        return "the stages above had left already"
    if vacancy.stage - 1 in state.roster.left:  # it had passed the end down before it died
        return "the stages below had left already"
    timeout_s = state.terms.start_timeout_s + state.terms.join_s(vacancy.stage)
    is_late = state.now - vacancy.begins_at > timeout_s
    return f"its replacement was not ready in {timeout_s:.0f} s" if is_late else ""


def _open(state: RunState, vacancy: Vacancy) -> list[RunAction]:
    """Nobody hosts the stage: whoever trains above it opens a new inbox, and those beside it that
    were about to take their seats begin again, for they may wait for the one that is gone, or have
    heard of it: an inbox is for one alone.
    """
    stage, run_id = vacancy.stage, state.terms.run_id
    state.roster.vacate(stage, vacancy.incarnation)
    actions: list[RunAction] = []
    if _is_training(state, stage + 1):
        message = NeighbourReplaced(run_id, "below", vacancy.incarnation, "")
        actions += state.send(stage + 1, message)
    for beside in _beside(state, stage):
        has_heard = beside.is_met and beside.stage > stage
        if (beside.is_welcomed or has_heard) and not beside.is_leaving:
            beside.is_leaving = True
            stop = Stop(run_id, "a neighbour has died", again=True)
            actions += state.send(beside.stage, stop)
    return actions


def _beside(state: RunState, stage: int) -> list[Vacancy]:
    """The vacancies on both sides of the stage."""
    found = map(state.vacancies.open.get, (stage - 1, stage + 1))
    return [vacancy for vacancy in found if vacancy is not None]


def _introduce(state: RunState, vacancy: Vacancy) -> list[RunAction]:
    """Welcome the replacement once it is known where to connect, and tell the stage below.

    Nobody beside it may be about to leave: it would have to leave with that one.
    """
    stage = vacancy.stage
    is_disturbed = any(beside.is_leaving for beside in _beside(state, stage))
    if is_disturbed or not _knows_inbox_above(state, vacancy):
        return []
    vacancy.is_welcomed = True
    if stage + 1 in state.vacancies.open:
        state.vacancies.open[stage + 1].is_met = True
    actions = welcome(state, stage)
    if _is_training(state, stage - 1):
        endpoint, key = state.roster.peer_of(stage - 1), state.roster.key_of(stage - 1)
        run_id = state.terms.run_id
        message = NeighbourReplaced(run_id, "above", vacancy.incarnation, endpoint, key)
        actions += state.send(stage - 1, message)
    return actions


def _knows_inbox_above(state: RunState, vacancy: Vacancy) -> bool:
    """Whether it is known where the replacement connects to."""
    above = vacancy.stage + 1
    if above == state.terms.num_stages:
        return True
    if above in state.vacancies.open:
        return above in state.roster.hellos
    return vacancy.has_inbox


def _is_training(state: RunState, stage: int) -> bool:
    return stage in state.roster.ready and stage not in state.vacancies.open
