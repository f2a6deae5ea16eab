"""What workers tell of their work: how far they are, and what epochs came to."""

from __future__ import annotations

import dataclasses

from dni_async.decisions.words import EpochWord
from dni_async.launcher.decisions.actions import (
    EnterEpoch,
    EnterFirstUpdates,
    EnterProgress,
    EnterRecovery,
    EnterStop,
    EnterWorker,
    Note,
    RunAction,
)
from dni_async.launcher.decisions.epochs import WholeEpoch
from dni_async.launcher.decisions.state import RunState
from dni_async.wire.messages import (
    Drain,
    EndReached,
    EpochEntered,
    EpochTrained,
    Progress,
    TellAgain,
)

__all__ = ["ask_again", "close", "hear_end", "hear_epoch", "hear_progress", "hear_stop"]


def hear_progress(state: RunState, message: Progress) -> list[RunAction]:
    """A worker's counters."""
    stage = message.stage
    worker = stage, state.roster.incarnations.get(stage, 0)
    state.silence.hear(worker, message.longest_s)
    state.progress[stage] = message
    if stage == 0:
        state.source.hear(message, state.now)
    actions: list[RunAction] = [EnterProgress(message)]
    if stage in state.vacancies.untried:
        actions += _recovery(state, message)
    if message.counters.work.updates and not state.has_all_updates:
        actions += _first_updates(state)
    return actions


def hear_epoch(state: RunState, message: EpochWord) -> list[RunAction]:
    """Part of what is told of an epoch; those that are whole with it are entered."""
    if isinstance(message, EpochTrained) and not state.epochs.is_told(message):
        state.source.reached(state.terms.first_behind(message.epoch))
        if not message.again:  # who timed it was there from its beginning, or knew of it
            whole_s = state.source.whole_s(message.epoch, message.seconds)
            message = dataclasses.replace(message, seconds=whole_s)
    actions: list[RunAction] = []
    for whole in state.epochs.enter(message):
        actions += _enter(state, whole)
        actions += _compare(state, whole)
    return actions


def hear_end(state: RunState, message: EndReached) -> list[RunAction]:
    """The source waits until all is known of what was tested; so ask for what is missing."""
    state.passed = max(state.passed, message.epoch)
    if state.epochs.last >= message.epoch:  # its predecessor was told
        return state.send(0, EpochEntered(state.terms.run_id, state.epochs.last))
    stages = range(state.terms.num_stages)
    return [action for stage in stages for action in ask_again(state, stage)]


def ask_again(state: RunState, stage: int) -> list[RunAction]:
    """Have the stage tell what is missing of epochs that are over, if any is known to be."""
    run_id = state.terms.run_id
    return [
        action
        for who, epoch in state.epochs.missing(state.passed)
        if who == stage
        for action in state.send(stage, TellAgain(run_id, epoch))
    ]


def hear_stop(state: RunState, reason: str) -> list[RunAction]:
    """Somebody asks for the end; nothing where it has come, or is on its way."""
    if state.is_draining or state.last_epoch >= state.terms.epochs:
        return []
    note = Note(f"the run ends, as it was asked to: {reason}")
    return [EnterStop(reason), note, *_drain(state)]


def close(state: RunState) -> list[RunAction]:
    """Nobody tells anything any more: the epochs that are over, and who worked."""
    rest = state.epochs.rest(max(state.passed, state.source.epoch - 1))
    actions: list[RunAction] = [EnterEpoch(whole) for whole in rest]
    for stage in sorted(state.progress):
        actions.append(EnterWorker(stage, state.roster.pids[stage], state.device(stage)))
    return actions


def _enter(state: RunState, whole: WholeEpoch) -> list[RunAction]:
    state.last_epoch = whole.epoch
    known = EpochEntered(state.terms.run_id, whole.epoch)
    told = [action for stage in sorted(state.roster.ready) for action in state.send(stage, known)]
    return [EnterEpoch(whole), *told]


def _compare(state: RunState, whole: WholeEpoch) -> list[RunAction]:
    """End early when a test of all samples is reason enough, as the run's goal says."""
    is_whole = state.terms.num_test in (None, whole.num_tested)
    if not is_whole or state.is_draining:
        return []
    figure = state.outlook.goal.figure(whole.test_loss, whole.test_metrics)
    reason = state.outlook.hear(whole.epoch, figure)
    if not reason:
        return []
    return [Note(f"the run ends with epoch {whole.epoch}: {reason}"), *_drain(state)]


def _drain(state: RunState) -> list[RunAction]:
    """The source is to begin no more batches. One that has not begun is told before it does."""
    state.is_draining = True
    is_training = state.has_started and 0 in state.roster.ready
    return state.send(0, Drain(state.terms.run_id)) if is_training else []


def _recovery(state: RunState, message: Progress) -> list[RunAction]:
    """A replacement's first update ends the time that its stage stood still.

    Before it trains it tells how many updates it starts from.
    """
    stage, updates = message.stage, message.counters.work.updates
    if updates <= state.updates_at_start.setdefault(stage, updates):
        return []
    vacancy = state.vacancies.untried.pop(stage)
    seconds = state.now - vacancy.died_at
    return [
        EnterRecovery(stage, state.since_start_s),
        Note(f"stage {stage} trains again after {seconds:.2f} s"),
    ]


def _first_updates(state: RunState) -> list[RunAction]:
    """Stages tell of their first one; of a resumed run it is not known."""
    has_begun = all(progress.counters.work.updates for progress in state.progress.values())
    if state.terms.is_resumed or not has_begun or len(state.progress) < state.terms.num_stages:
        return []
    state.has_all_updates = True
    return [EnterFirstUpdates()]
