"""Who takes part: started, joined, admitted and welcomed, up to the start; and who is there."""

from __future__ import annotations

from dni_async.errors import HandshakeError
from dni_async.launcher.decisions import deaths, succession
from dni_async.launcher.decisions.actions import (
    EndActor,
    EndRun,
    EnterStart,
    Note,
    RunAction,
    Send,
    StartActor,
)
from dni_async.launcher.decisions.events import ActorEnded
from dni_async.launcher.decisions.moving import steps
from dni_async.launcher.decisions.state import RunState
from dni_async.wire.messages import Assigned, Drain, Heartbeat, Hello, Join, Start

__all__ = ["beat", "begin", "hear_actor", "hear_hello", "hear_join", "hear_ready", "look"]

HEARTBEAT_S = 0.5
NAG_S = 10.0


def begin(state: RunState) -> list[RunAction]:
    """Ask for all workers."""
    _wait_anew(state)
    stages = range(state.terms.num_stages)
    return [action for stage in stages for action in succession.start(state, stage, 0)]


def hear_hello(state: RunState, peer: str, hello: Hello) -> list[RunAction]:
    """A worker takes its stage."""
    try:
        state.roster.admit(hello)
    except HandshakeError as error:
        return state.refuse(peer, f"a worker was refused: {error}")
    stage = hello.stage
    state.roster.peers[stage] = peer
    state.joined.seat(stage, peer, state.now)
    state.actors.seat(stage)
    actions: list[RunAction] = []
    if state.terms.is_remote(stage):
        who = f"{hello.host}, pid {hello.pid}, {state.device(stage)}"
        actions.append(Note(f"stage {stage} joined: {who}"))
    if state.roster.all_admitted and not state.has_started:
        for each in range(state.terms.num_stages):
            actions += succession.welcome(state, each)
    return actions


def hear_join(state: RunState, peer: str, join: Join) -> list[RunAction]:
    """Somebody elsewhere offers to be a worker, or has left its stage to do so."""
    if not state.joined.knows(peer):
        state.next_beat = 0.0  # it waits for an answer
    try:
        gone = state.joined.enter(peer, join, state.now)
    except HandshakeError as error:
        return state.refuse(peer, f"a worker was refused: {error}")
    return [] if gone is None else deaths.hear_gone(state, gone)


def hear_ready(state: RunState, stage: int) -> list[RunAction]:
    """The stage's worker could begin, if it was not found dead before this was read."""
    if stage not in state.roster.hellos:
        return []
    if stage in state.vacancies.open:
        return succession.seat(state, stage)
    state.roster.ready.add(stage)
    return []


def hear_actor(state: RunState, event: ActorEnded) -> list[RunAction]:
    """An actor has ended: its worker with it, unless that still has a last word to say."""
    state.actors.end(event.stage, event.reason)
    if event.code is not None and event.code >= 0:
        return []
    gone = state.joined.lose(event.stage, event.reason)
    return [action for each in gone for action in deaths.hear_gone(state, each)]


def beat(state: RunState) -> list[RunAction]:
    """Give stages to those who joined, and show and ask twice a second who is there."""
    run_id, joined = state.terms.run_id, state.joined
    actions: list[RunAction] = [
        Send(peer, Assigned(run_id, stage, incarnation))
        for peer, stage, incarnation in joined.assign(state.now)
    ]
    if state.now >= state.next_beat:
        state.next_beat = state.now + HEARTBEAT_S
        actions += [Send(peer, Heartbeat(run_id)) for peer in joined.reachable]
    for gone in joined.sweep(state.now, state.training):
        if state.terms.actors and not gone.has_left:
            join = gone.joiner.join
            stage = join.stage if gone.joiner.stage is None else gone.joiner.stage
            state.actors.end(stage, gone.why)
            actions.append(EndActor(stage))
        actions += deaths.hear_gone(state, gone)
    return actions + (_start_actors(state) if state.terms.actors else [])


def look(state: RunState) -> list[RunAction]:
    """Begin when all can; say for whom the run waits, and end it when that takes too long."""
    roster = state.roster
    if roster.all_ready:
        return _start(state)
    limit_s = state.terms.start_timeout_s
    if not roster.all_admitted:
        limit_s = max(map(state.terms.join_s, range(state.terms.num_stages))) or limit_s
    elif not state.is_welcoming:
        state.is_welcoming = True
        _wait_anew(state)
    waited_s = state.now - state.waiting_since
    if waited_s > limit_s:
        missing = f"{roster.missing()}{state.joined.set_on}"
        why = f"waited {limit_s:.0f} s for {missing}; logs are in {state.terms.logs}"
        return [EndRun("nobody joined", why)]
    if state.now < state.next_nag:
        return []
    state.next_nag += NAG_S
    return [Note(f"{waited_s:.0f} s: waiting for {roster.missing()}{state.joined.set_on}")]


def _start(state: RunState) -> list[RunAction]:
    state.started_at = state.now
    run_id, stages = state.terms.run_id, range(state.terms.num_stages)
    actions = steps.before_start(state)
    actions += state.send(0, Drain(run_id)) if state.is_draining else []
    actions += [action for stage in stages for action in state.send(stage, Start(run_id))]
    return [*actions, EnterStart(tuple(state.roster.pids[stage] for stage in stages))]


def _wait_anew(state: RunState) -> None:
    state.waiting_since = state.now
    state.next_nag = state.now + NAG_S


def _start_actors(state: RunState) -> list[RunAction]:
    try:
        return [StartActor(stage) for stage in state.actors.due(state.joined.wanted)]
    except HandshakeError as error:
        return [EndRun("nobody joined", str(error))]
