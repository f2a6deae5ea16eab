"""A worker that says nothing is asked where it stands, shown and killed, and then like any dead."""

from __future__ import annotations

import dataclasses

from dni_async.launcher.decisions.actions import (
    AskStack,
    EnterDeath,
    KillStuck,
    Note,
    RunAction,
    StartWorker,
)
from tests.launcher.decisions.runs import Run, told, training

TEXT = "stage 1 (cpu, pid 101) was stuck for 10 s"


def let_pass(run: Run, seconds: int, *silent: int) -> list[RunAction]:
    """What is decided in so many seconds in which all stages speak but the silent ones."""
    decided = []
    for _ in range(2 * seconds):
        for stage in run.stages:
            if stage not in silent:
                run.tell(stage)
        decided += run.tick(0.5)
    return decided


def test_one_that_says_nothing_is_asked_shown_and_killed() -> None:
    run = training(stuck_after_s=10.0)
    assert let_pass(run, 30) == []
    assert let_pass(run, 9, 1) == []
    assert let_pass(run, 2, 1) == [AskStack(1, 101), KillStuck(1, 101, TEXT)]
    text = f"{TEXT} and was killed; its log is logs/worker-1.log"
    _, entered, note = run.exit(1)
    assert isinstance(entered, EnterDeath)
    assert entered.cause == text
    assert note == Note(f"{text}; it is replaced (1 of 9)")
    assert run.tick() == [StartWorker(1, 1)]


def test_the_seconds_that_are_told_are_those_it_was_silent() -> None:
    run = training(stuck_after_s=120.0)
    said = dataclasses.replace(told(1), longest_s=0.003)
    run.hear("stage-1", said)
    decided = let_pass(run, 12, 1)
    assert decided == [AskStack(1, 101), KillStuck(1, 101, TEXT)]
    (_, entered, _) = run.exit(1)
    assert isinstance(entered, EnterDeath)
    assert "was stuck for 10 s and was killed" in entered.cause


def test_one_of_another_host_is_not_killed_from_here() -> None:
    run = training(stuck_after_s=10.0)
    run.exit(1)
    run.tick()
    run.hello(1, 1, pid=4711)  # no process of this host is known by that
    run.move(2, 1, "tcp://elsewhere:1")
    run.tick()
    run.ready(1, 1)
    decided = let_pass(run, 12, 1)
    said = "stage 1 (cpu, pid 4711) was stuck for 10 s; it runs on host and is not killed from here"
    assert decided == [Note(said)]


def test_nobody_is_stuck_before_the_start_or_after_the_end() -> None:
    run = Run(2, stuck_after_s=10.0)
    run.begin()
    run.hello(0)
    run.hello(1)
    run.ready(0)
    assert not any(isinstance(a, AskStack) for _ in range(40) for a in run.tick(0.5))
    run = training(2, stuck_after_s=10.0)
    run.bye(1)
    assert let_pass(run, 30, 1) == []
