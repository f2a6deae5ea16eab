"""Workers that are lost: replaced where another can go on, else the cause by which the run ends."""

from __future__ import annotations

import dataclasses

from dni_async.launcher.decisions import succession
from dni_async.launcher.decisions.actions import EndRun, EnterDeath, Note, RunAction, Send
from dni_async.launcher.decisions.events import WorkerExited
from dni_async.launcher.decisions.joined.joiners import Gone
from dni_async.launcher.decisions.moving import steps
from dni_async.launcher.decisions.state import Cause, RunState
from dni_async.wire.messages import Failed, Stop

__all__ = ["explain", "hear_bye", "hear_exit", "hear_failed", "hear_gone", "may_replace"]

LAST_WORDS_S = 0.5  # a worker's Failed may arrive after its end was noticed
BYE_S = 5.0  # so may the Bye of one that has ended well, which on a busy host takes longer


def hear_exit(state: RunState, event: WorkerExited) -> list[RunAction]:
    """A process of this host has ended."""
    stage, roster = event.stage, state.roster
    roster.alive.pop(event.pid, None)
    is_old = roster.pids.get(stage) != event.pid
    if is_old or stage in roster.left:  # its weights are saved, whatever ends it
        return []
    if event.code == 0 and stage in state.vacancies.open:
        return succession.begin_again(state, stage)
    cause = _cause_of_exit(state, event)
    if event.code < 0 and event.signal:
        return _lose(state, cause)
    state.unexplained[stage] = cause
    return []


def hear_gone(state: RunState, gone: Gone) -> list[RunAction]:
    """One who joined is not there any more: a spare, one under way to its stage, or a stage."""
    stage, roster = gone.joiner.stage, state.roster
    if stage is None or stage not in roster.hellos:
        again = [] if stage is None else _again(state, stage, state.vacancies.incarnation(stage))
        return [Note(f"{gone.joiner.name}: {gone.why}"), *again]
    if stage in roster.left:
        return []
    actions = _dismiss(state, stage, gone)
    if not state.has_started and not roster.all_admitted:  # nobody else knows of it yet
        note = Note(f"stage {stage} ({gone.joiner.name}): {gone.why}")
        roster.vacate(stage, 0)
        return [*actions, note, *_again(state, stage, 0)]
    if gone.has_left and stage in state.vacancies.open:
        return actions + succession.begin_again(state, stage)
    return actions + _lose(state, _cause_of_loss(state, stage, gone))


def hear_bye(state: RunState, stage: int) -> None:
    """The stage's worker ends well, whatever its exit looked like; not one that is replaced."""
    if stage in state.roster.hellos:
        state.roster.left.add(stage)
        state.unexplained.pop(stage, None)  # its end was noticed before its Bye was read


def hear_failed(state: RunState, message: Failed) -> None:
    """The first worker's last words are the run's; what others say follows from it."""
    if state.cause is None:
        state.cause = state.unexplained.pop(message.stage, None)
    cause = state.cause
    if cause is not None and (cause.is_told or cause.stage != message.stage):
        return
    state.cause = _cause_of_failure(message, 1 if cause is None else cause.code, state.now)


def explain(state: RunState) -> list[RunAction]:
    """What follows by now: who ended with a code and said nothing since is replaced; or the run
    ends, when it has a cause to, and all has been heard of it.
    """
    actions: list[RunAction] = []
    for stage, cause in list(state.unexplained.items()):
        may_say_bye = cause.exit_code <= 0  # below: nobody has seen how it ended
        is_final = not may_say_bye and not _is_replaceable(state, cause)
        if state.now >= cause.deadline or is_final:
            del state.unexplained[stage]
            actions += _lose(state, cause)
    if state.cause is not None and state.now >= state.cause.deadline:
        actions.append(EndRun("worker died", state.cause.text, state.cause.code))
    return actions


def may_replace(state: RunState) -> bool:
    """Whether this run goes on when one of its workers dies."""
    return not state.terms.rule_forbids and not state.vacancies.are_used_up


def _again(state: RunState, stage: int, incarnation: int) -> list[RunAction]:
    return succession.start(state, stage, incarnation)


def _dismiss(state: RunState, stage: int, gone: Gone) -> list[RunAction]:
    """The stage's worker counts as dead, whatever may still come from it."""
    state.joined.dismiss(stage)
    peer = state.roster.peers.pop(stage, None)
    if peer is None or gone.has_left:
        return []
    return [Send(peer, Stop(state.terms.run_id, "its stage is hosted by another"))]


def _lose(state: RunState, cause: Cause) -> list[RunAction]:
    """Have the worker that died replaced; else that is the cause by which the run ends."""
    if _may_start_over(state, cause):
        actions = succession.start_over(state, cause.stage, cause.text)
        return [*actions, Note(f"{cause.text}; another one is started ({_count(state)})")]
    if not _is_replaceable(state, cause):
        if state.cause is None:
            state.cause = dataclasses.replace(cause, text=cause.text + _why_final(state))
        return []
    actions = succession.vacate(state, cause.stage, cause.text, cause.code)
    state.updates_at_start.pop(cause.stage, None)
    return [
        *actions,
        *steps.lose(state, cause.stage),
        EnterDeath(cause.stage, cause.text, state.since_start_s),
        Note(f"{cause.text}; it is replaced ({_count(state)})"),
    ]


def _count(state: RunState) -> str:
    """How many have died, of those that may."""
    return f"{len(state.vacancies.deaths)} of {state.vacancies.max_restarts}"


def _may_start_over(state: RunState, cause: Cause) -> bool:
    """Whether a worker has died, not by itself, before anybody could learn: under any rule."""
    is_killed = cause.exit_code < 0 and state.cause is None
    return is_killed and not state.has_started and not state.vacancies.are_used_up


def _is_replaceable(state: RunState, cause: Cause) -> bool:
    """Whether another worker could take the place and learn what this one knew."""
    is_over = state.last_epoch == state.terms.epochs
    may = state.has_started and not is_over and not state.roster.left
    has_failed = state.cause is not None or cause.exit_code == 0
    return may and not has_failed and may_replace(state)


def _cause_of_exit(state: RunState, event: WorkerExited) -> Cause:
    code, place = event.code, _place(state, event)
    if event.pid in state.killed:
        stuck_s = state.killed[event.pid]
        text = f"{place} was stuck for {stuck_s:g} s and was killed; its log is {event.log}"
    else:
        how = f"was killed by {event.signal}" if code < 0 else f"exited with code {code}"
        if code < 0 and not event.signal:
            how = "has ended, and nobody has seen how"
        text = f"{place} {how}; its log is {event.log}"
        if code > 0 and event.said:
            text += f", which ends: {event.said}"
    deadline = state.now + (LAST_WORDS_S if code else BYE_S)
    return Cause(event.stage, code, (code if code >= 0 else 128 - code) or 1, text, deadline)


def _place(state: RunState, event: WorkerExited) -> str:
    return f"stage {event.stage} ({state.terms.devices[event.stage]}, pid {event.pid})"


def _cause_of_loss(state: RunState, stage: int, gone: Gone) -> Cause:
    """One who joined is not there any more."""
    text = f"stage {stage} ({gone.joiner.join.device}, on {gone.joiner.name}) was lost: {gone.why}"
    return Cause(stage, -1, 1, text, state.now)


def _cause_of_failure(message: Failed, code: int, now: float) -> Cause:
    """A worker has said why it fails. code: the run's exit code."""
    place = f"stage {message.stage} ({message.device})"
    story = f" failed:\n{message.traceback.rstrip()}\n{place}" if message.traceback else ""
    text = f"{place}{story}: {message.summary}"
    return Cause(message.stage, code, code, text, now, is_told=True)


def _why_final(state: RunState) -> str:
    """What to add to the cause where workers were to be replaced, but may not be or no more."""
    terms = state.terms
    if terms.max_restarts == 0 or may_replace(state):
        return ""
    if state.vacancies.are_used_up and not state.has_started:
        return _used_up(state)
    if terms.rule_forbids:
        return (
            f"; with rule {terms.rule}, {terms.rule_forbids}, no worker is replaced: --resume "
            "continues a run from its last checkpoint"
        )
    return _used_up(state)


def _used_up(state: RunState) -> str:
    first = state.vacancies.deaths[0]
    return f"; max_restarts {state.terms.max_restarts} is used up, and this came first:\n{first}"
