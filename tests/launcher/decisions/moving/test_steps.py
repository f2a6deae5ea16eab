"""A move step by step: this event gives exactly these actions; and deaths at each step."""

from __future__ import annotations

from typing import Any

import pytest

from dni_async.launcher.decisions.actions import (
    EnterMove,
    EnterMoved,
    EnterProgress,
    Note,
    RunAction,
    Send,
    SendWelcome,
)
from dni_async.launcher.decisions.events import CheckpointDecided
from dni_async.launcher.decisions.moving.steps import SAVED_S
from dni_async.wire.messages import GoOn, Hold, Paused, Regroup, Regrouped, Start
from tests.launcher.decisions.runs import RUN, Run, inbox, told, training

LAYERS = [(0, 2), (2, 4), (4, 6)]
NEW = ((0, 1), (1, 4), (4, 6))
FOLDER = "checkpoints"


def moved(*moves: tuple[int, Any], **changes: Any) -> Run:
    """A run of three stages of two layers that has begun; of which moves are asked."""
    run = Run(3, layers=LAYERS, moves=moves, checkpoints=FOLDER, **changes)
    run.begin()
    for stage in run.stages:
        run.start(stage, 100 + stage)
        run.hello(stage)
    for stage in run.stages:
        run.ready(stage)
    assert sent(run.tick())[: 1 + bool(moves)][-1][1] == Start(RUN) or moves
    for stage in run.stages:
        run.tell(stage)
    return run


def sent(actions: list[RunAction]) -> list[tuple[str, Any]]:
    """The words, and to whom."""
    return [(action.peer, action.message) for action in actions if isinstance(action, Send)]


def paused(run: Run, number: int = 1, batch_id: int = 7) -> None:
    """The source tells that the line stands still."""
    assert run.hear("stage-0", Paused(RUN, number, 1, batch_id)) == []


def decided(run: Run, batch_id: int = 7, *, is_whole: bool = True) -> list[RunAction]:
    """A checkpoint is whole, or will not be."""
    return run.handle(CheckpointDecided(run.now, batch_id, is_whole))


def regroup(stage: int) -> tuple[str, Regroup]:
    return f"stage-{stage}", Regroup(RUN, 1, *NEW[stage], f"{FOLDER}/7")


def test_the_source_is_told_of_the_first_move_before_it_begins() -> None:
    run = Run(3, layers=LAYERS, moves=[(7, NEW)], checkpoints=FOLDER)
    run.begin()
    for stage in run.stages:
        run.start(stage, 100 + stage)
        run.hello(stage)
    for stage in run.stages:
        run.ready(stage)
    words = sent(run.tick())
    assert words[:2] == [("stage-0", Hold(RUN, 1, 7)), ("stage-0", Start(RUN))]


def test_whose_layers_change_hear_of_it_and_the_source_goes_on_when_all_hold_theirs() -> None:
    run = moved((7, NEW), (20, LAYERS))
    paused(run)
    actions = decided(run)
    assert actions[0] == EnterMove(NEW, run.machine._state.since_start_s)
    assert sent(actions) == [regroup(0), regroup(1)]
    assert run.hear("stage-1", Regrouped(RUN, 1, 1)) == []
    run.tick(0.25)
    entered, note, *words = run.hear("stage-0", Regrouped(RUN, 0, 1))
    assert entered == EnterMoved(0.25)
    assert note == Note("layers have moved: stages hold 1 3 2 now; the line stood still for 0.25 s")
    assert sent(words) == [("stage-0", Hold(RUN, 2, 20)), ("stage-0", GoOn(RUN, 1))]


def test_a_move_to_what_is_there_already_holds_nobody_up() -> None:
    run = moved((7, LAYERS))
    paused(run)
    assert sent(decided(run)) == [("stage-0", GoOn(RUN, 1))]


def test_another_checkpoint_decides_nothing() -> None:
    run = moved((7, NEW))
    paused(run)
    assert decided(run, 5) == []


@pytest.mark.parametrize("how", ["not whole", "never told", "at the end"])
def test_what_cannot_be_saved_does_not_move_and_the_line_goes_on(how: str) -> None:
    run = moved((7, NEW))
    if how == "at the end":
        actions = run.hear("stage-0", Paused(RUN, 1, 0, 0))
    else:
        paused(run)
        actions = decided(run, is_whole=False) if how == "not whole" else run.tick(SAVED_S)
    assert sent(actions) == [("stage-0", GoOn(RUN, 1))]
    assert not any(isinstance(action, EnterMove) for action in actions)
    assert decided(run) == []


def test_a_death_before_it_is_decided_ends_it_and_what_the_user_asked_for_comes_again() -> None:
    run = moved((7, NEW))
    words = sent(run.exit(1))
    assert ("stage-0", Hold(RUN, 2, 7)) in words
    assert words[-1] == ("stage-0", GoOn(RUN, 1))
    paused(run, 2)
    again = sent(run.exit(2))
    assert ("stage-0", GoOn(RUN, 2)) in again  # it had come to its place, and is not repeated
    assert not any(isinstance(message, Hold) for _, message in again)


def test_who_dies_when_it_is_decided_is_replaced_by_one_that_begins_with_the_new_layers() -> None:
    run = moved((7, NEW))
    paused(run)
    decided(run)
    run.hear("stage-0", Regrouped(RUN, 0, 1))
    run.exit(1)
    run.tick()
    run.move(2, 1, "ipc:///stage-2.1")
    run.start(1, 201)
    run.hello(1, 1)
    (welcome,) = (action for action in run.tick() if isinstance(action, SendWelcome))
    assert welcome.layers == (1, 4)
    words = sent(run.ready(1, 1))
    assert words == [("stage-1.1", Start(RUN)), ("stage-0", GoOn(RUN, 1))]


def test_a_new_source_waits_for_those_that_do_not_hold_their_layers_yet() -> None:
    run = moved((7, NEW))
    paused(run)
    decided(run)
    run.exit(0)
    run.tick()
    run.move(1, 1, inbox(1))
    run.start(0, 200)
    run.hello(0, 1)
    run.tick()
    assert sent(run.ready(0, 1)) == [("stage-0.1", Hold(RUN, 1, 7)), ("stage-0.1", Start(RUN))]
    assert sent(run.hear("stage-1", Regrouped(RUN, 1, 1))) == [("stage-0.1", GoOn(RUN, 1))]


def test_a_new_source_is_told_of_a_pause_that_the_one_before_it_may_have_raised() -> None:
    run = moved((7, NEW))
    paused(run)
    run.handle(CheckpointDecided(run.now, 7, False))
    assert run.machine._state.moves.held == 0  # it was back: nobody above has it on its way
    run = training(3, layers=LAYERS)
    run.machine._state.moves.begin(NEW)
    run.exit(0)
    run.tick()
    run.move(1, 1, inbox(1))
    run.start(0, 200)
    run.hello(0, 1)
    run.tick()
    words = sent(run.ready(0, 1))
    assert words == [("stage-0.1", Hold(RUN, 1, 0, is_over=True)), ("stage-0.1", Start(RUN))]


def test_words_of_a_move_that_is_over_or_was_not_asked_for_change_nothing() -> None:
    run = moved((7, NEW))
    assert run.hear("stage-1", Regrouped(RUN, 1, 1)) == []  # nothing is decided
    (note,) = run.hear("stage-0", Paused(RUN, 9, 1, 7))
    assert isinstance(note, Note)
    assert "was not asked for" in note.text


def test_what_stages_tell_around_each_of_many_moves_is_not_too_often() -> None:
    moves = [(number, NEW if number % 2 else LAYERS) for number in range(1, 201)]
    run = moved(*moves)
    for number, _ in moves:
        paused(run, number, batch_id=number)
        decided(run, number)
        for stage in (0, 1):
            said = told(stage, updates=number)
            actions = [*run.hear(f"stage-{stage}", said), *run.hear(f"stage-{stage}", said)]
            assert [action for action in actions if isinstance(action, EnterProgress)]
            assert not [action for action in actions if isinstance(action, Note)]
            run.hear(f"stage-{stage}", Regrouped(RUN, stage, number))
