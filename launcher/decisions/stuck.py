"""Workers whose process lives but whose loop stands still: shown with their stack, then killed.

A worker tells of its progress twice a second, also while it waits for a neighbour, and how long
what it is at has taken before. One that is silent for much longer is asked for its stack, which
faulthandler writes into its log whatever it is at; all is told to the user; then it is killed, and
what follows is what follows any death.
"""

from __future__ import annotations

from dni_async.launcher.decisions.actions import AskStack, KillStuck, Note, RunAction
from dni_async.launcher.decisions.state import RunState

__all__ = ["look"]


def look(state: RunState) -> list[RunAction]:
    """Do what is due by now about those that are silent."""
    roster = state.roster
    training = ((stage, roster.incarnations.get(stage, 0)) for stage in state.training)
    actions: list[RunAction] = []
    for (stage, incarnation), step in state.silence.look(state.now, training):
        pid = roster.pids[stage]
        is_here = roster.alive.get(pid) == stage  # another host may have given out the same
        if step == "kill":
            after_s = state.silence.after_s((stage, incarnation))
            actions.append(_kill(state, stage, pid, after_s, is_here=is_here))
        elif is_here:
            actions.append(AskStack(stage, pid))
    return actions


def _kill(state: RunState, stage: int, pid: int, after_s: float, *, is_here: bool) -> RunAction:
    text = f"stage {stage} ({state.terms.devices[stage]}, pid {pid}) was stuck for {after_s:g} s"
    if not is_here:
        host = state.roster.hellos[stage].host
        return Note(f"{text}; it runs on {host} and is not killed from here")
    state.killed[pid] = after_s
    return KillStuck(stage, pid, text)
