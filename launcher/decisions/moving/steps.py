"""A move, step by step: the line pauses, saves, regroups and goes on; a death at any of them.

What was saved at the pause is a checkpoint. Until it is one, nothing has changed, and whatever goes
wrong ends the move alone. From then on stages hold other layers: whoever dies is replaced by a
worker that starts from there, and nobody trains before all hold theirs.
"""

from __future__ import annotations

from dni_async.launcher.decisions.actions import EnterMove, EnterMoved, Note, RunAction
from dni_async.launcher.decisions.events import CheckpointDecided
from dni_async.launcher.decisions.known.choosing import Layers
from dni_async.launcher.decisions.known.moves import Move
from dni_async.launcher.decisions.state import RunState
from dni_async.wire.messages import GoOn, Hold, Paused, Regroup, Regrouped

__all__ = [
    "ask",
    "before_start",
    "hear",
    "hear_checkpoint",
    "look",
    "lose",
    "seat",
]

SAVED_S = 20.0  # a pause whose checkpoint takes longer is given up


def before_start(state: RunState) -> list[RunAction]:
    """What a source is told before it begins: of a pause that another one was asked for."""
    moves, run_id = state.moves, state.terms.run_id
    move = moves.under_way
    if move is not None:
        return state.send(0, Hold(run_id, move.number, move.from_batch))
    if moves.held:
        return state.send(0, Hold(run_id, moves.held, 0, is_over=True))
    return _ask_next(state)


def ask(
    state: RunState, layers: Layers, *, before_s: float, after_s: float, text: str
) -> list[RunAction]:
    """Have layers move before the next batch."""
    move = state.moves.begin(layers, before_s=before_s, after_s=after_s)
    return [Note(text), *state.send(0, Hold(state.terms.run_id, move.number, 0))]


def hear(state: RunState, message: Paused | Regrouped) -> list[RunAction]:
    """The source tells that the line stands still, or a stage that it holds its new layers."""
    if isinstance(message, Paused):
        return _hear_paused(state, message)
    move = state.moves.under_way
    if move is None or message.number != move.number:
        return []
    return _hold(state, move, message.stage)


def _hear_paused(state: RunState, message: Paused) -> list[RunAction]:
    """The line stands still, and all that it knows is about to be saved."""
    moves, move = state.moves, state.moves.under_way
    if message.number == moves.held:
        moves.held = 0
    if move is None or message.number != move.number or move.is_decided:
        return []
    move.batch_id, move.paused_at = message.batch_id, state.now
    return [] if message.epoch else _give_up(state, "")


def hear_checkpoint(state: RunState, event: CheckpointDecided) -> list[RunAction]:
    """A checkpoint is whole, or will not be: if it is the pause's, that decides."""
    move = state.moves.under_way
    if move is None or move.is_decided or event.batch_id != move.batch_id:
        return []
    if not event.is_whole:
        return _give_up(state, "what the stages hold could not be saved")
    before, run_id = state.moves.layers, state.terms.run_id
    state.moves.layers, move.is_decided = move.layers, True
    folder = f"{state.terms.checkpoints}/{event.batch_id}"
    at_s = state.since_start_s
    entry = EnterMove(move.layers, at_s, before_s=move.before_s, foretold_s=move.after_s)
    actions: list[RunAction] = [entry]
    for stage, (first, end) in enumerate(move.layers):
        if before[stage] != (first, end):
            move.awaited.add(stage)
            actions += state.send(stage, Regroup(run_id, move.number, first, end, folder))
    return actions if move.awaited else [*actions, *_hold(state, move, 0)]


def seat(state: RunState, stage: int) -> list[RunAction]:
    """A replacement is ready: it began with the layers that its stage is to hold."""
    move = state.moves.under_way
    return [] if move is None or not move.is_decided else _hold(state, move, stage)


def lose(state: RunState, stage: int) -> list[RunAction]:
    """A worker has died: what is not decided yet is given up; else its replacement is awaited."""
    move = state.moves.under_way
    if move is None:
        return []
    if not move.is_decided:
        return _give_up(state, f"the worker of stage {stage} has died")
    move.awaited.add(stage)
    return []


def look(state: RunState) -> list[RunAction]:
    """Do not wait for ever for what was to be saved."""
    move = state.moves.under_way
    if move is None or move.paused_at is None or move.is_decided:
        return []
    if state.now - move.paused_at < SAVED_S:
        return []
    return _give_up(state, f"what the stages hold was not saved within {SAVED_S:.0f} s")


def _hold(state: RunState, move: Move, stage: int) -> list[RunAction]:
    """The stage holds its layers; with the last one the line goes on."""
    move.awaited.discard(stage)
    if move.awaited or not move.is_decided:
        return []
    assert move.paused_at is not None
    seconds = state.now - move.paused_at
    held = " ".join(str(end - first) for first, end in move.layers)
    return [
        EnterMoved(seconds),
        Note(
            f"layers have moved: stages hold {held} now; the line stood still for {seconds:.2f} s"
        ),
        *_release(state, move),
    ]


def _give_up(state: RunState, why: str) -> list[RunAction]:
    """Nothing has changed, and nothing will."""
    move = state.moves.under_way
    assert move is not None
    actions = _release(state, move)
    return [Note(f"layers do not move: {why}; training goes on"), *actions] if why else actions


def _release(state: RunState, move: Move) -> list[RunAction]:
    """The line goes on; what the user asks for next is known before it does."""
    state.moves.end()
    following = _ask_next(state)
    return [*following, *state.send(0, GoOn(state.terms.run_id, move.number))]


def _ask_next(state: RunState) -> list[RunAction]:
    move = state.moves.begin_asked()
    return (
        []
        if move is None
        else state.send(0, Hold(state.terms.run_id, move.number, move.from_batch))
    )
