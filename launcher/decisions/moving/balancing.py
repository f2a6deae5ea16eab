"""When layers move by themselves: a stage has become slow, for a while, and it pays."""

from __future__ import annotations

from collections.abc import Sequence

from dni_async.launcher.decisions.actions import EnterBrought, Note, RunAction
from dni_async.launcher.decisions.known.choosing import Choice, Layers, choose, least_s
from dni_async.launcher.decisions.known.moves import REST_S
from dni_async.launcher.decisions.moving import steps
from dni_async.launcher.decisions.state import RunState
from dni_async.wire.messages import Progress

__all__ = ["hear", "look"]

LEAST_GAIN = 1.2  # times as fast, or layers stay where they are
LOOKS = 5  # one after another that find that
LOOK_S = 0.5  # from one to the next
MAX_REST_S = 320.0
BROUGHT = 0.5  # of what was foretold, or it was too little


def hear(state: RunState, message: Progress) -> None:
    """A worker's counters."""
    if state.balance is not None and state.moves.under_way is None:
        state.balance.paces.hear(message, state.now)


def look(state: RunState) -> list[RunAction]:
    """Tell what the last move has brought, and have layers move if that should pay."""
    balance, moves = state.balance, state.moves
    if balance is None or state.now < balance.next_look:
        return []
    balance.next_look = state.now + LOOK_S
    if moves.under_way is not None or state.vacancies.open or _is_ending(state):
        balance.paces.begin()
        balance.num_found = 0
        return []
    paces = balance.paces.seconds()
    if paces is None:
        return []
    stage_s = balance.seconds(paces, moves.layers, state.now)
    told = _tell_brought(state, stage_s)
    possible_s = least_s(balance.work, moves.layers, stage_s)
    if state.now < balance.rests_until or possible_s * LEAST_GAIN > max(stage_s):
        balance.num_found = 0
        return told
    choice = choose(balance.work, moves.layers, stage_s)
    is_found = choice.gain >= LEAST_GAIN and choice.layers != moves.layers
    balance.num_found = balance.num_found + 1 if is_found else 0
    return [*told, *_move(state, choice, stage_s)] if balance.num_found >= LOOKS else told


def _is_ending(state: RunState) -> bool:
    return state.is_draining or bool(state.roster.left) or state.last_epoch >= state.terms.epochs


def _move(state: RunState, choice: Choice, stage_s: Sequence[float]) -> list[RunAction]:
    balance = state.balance
    assert balance is not None
    slowest = stage_s.index(max(stage_s))
    others = [seconds for stage, seconds in enumerate(stage_s) if stage != slowest]
    text = (
        f"stage {slowest} takes {_ms(choice.before_s)} ms for a batch, the others "
        f"{_ms(max(others))} at most: stages are to hold {_counts(choice.layers)} layers instead "
        f"of {_counts(state.moves.layers)}, so that the slowest takes {_ms(choice.after_s)}"
    )
    balance.num_found, balance.foretold = 0, choice
    balance.rests_until = state.now + balance.rest_s
    balance.paces.begin()
    return steps.ask(
        state, choice.layers, before_s=choice.before_s, after_s=choice.after_s, text=text
    )


def _tell_brought(state: RunState, stage_s: Sequence[float]) -> list[RunAction]:
    """Once it is known; one that was given up has brought nothing, and is not told of."""
    balance = state.balance
    assert balance is not None
    choice, balance.foretold = balance.foretold, None
    if choice is None or state.moves.layers != choice.layers:
        return []
    now_s = max(stage_s)
    is_enough = choice.before_s - now_s >= BROUGHT * (choice.before_s - choice.after_s)
    balance.rest_s = REST_S if is_enough else min(2 * balance.rest_s, MAX_REST_S)
    balance.rests_until = state.now + balance.rest_s
    return [
        EnterBrought(now_s),
        Note(
            f"what the move has brought: the slowest stage takes {_ms(now_s)} ms for a batch, "
            f"{_ms(choice.before_s)} before and {_ms(choice.after_s)} foretold"
        ),
    ]


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2f}"


def _counts(layers: Layers) -> str:
    return "+".join(str(end - first) for first, end in layers)
