"""What follows on a death: a replacement, or the run's end with its first cause."""

from __future__ import annotations

from typing import Any

import pytest

from dni_async.launcher.decisions.actions import (
    EndRun,
    EnterDeath,
    EnterStart,
    Note,
    Send,
    SendWelcome,
    StartWorker,
)
from dni_async.launcher.decisions.events import WorkerExited
from dni_async.wire.messages import Bye, Failed, Start, Stop
from tests.launcher.decisions.runs import RUN, Run, training

LOG = "its log is logs/worker-1.log"
KILLED = f"stage 1 (cpu, pid 101) was killed by SIGKILL; {LOG}"
EXITED = f"stage 1 (cpu, pid 101) exited with code 3; {LOG}, which ends: the end"


EXACT = (
    "; with rule backprop, which is exact, no worker is replaced: --resume continues a run from "
    "its last checkpoint"
)


def failed(stage: int) -> Failed:
    """The stage's worker has a last word."""
    return Failed(RUN, stage, "cpu", "LinkError: late", "Traceback\nLinkError: late\n")


def last_words(stage: int) -> str:
    """As the user reads them."""
    place = f"stage {stage} (cpu)"
    return f"{place} failed:\nTraceback\nLinkError: late\n{place}: LinkError: late"


def test_a_worker_that_is_killed_is_replaced_and_counted() -> None:
    run = training()
    run.tick(2.0)
    assert run.exit(1)[1:] == [
        EnterDeath(1, KILLED, 2.0),
        Note(f"{KILLED}; it is replaced (1 of 9)"),
    ]


@pytest.mark.parametrize(("code", "exit_code"), [(-9, 137), (-40, 168), (-15, 143)])
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"max_restarts": 0}, ""),
        (
            {"rule_forbids": "which is exact", "rule": "backprop"},
            EXACT,
        ),
    ],
)
def test_where_no_worker_is_replaced_the_run_ends_half_a_second_later(
    changes: dict[str, Any], why: str, code: int, exit_code: int
) -> None:
    run = training(**changes)
    assert run.exit(1, code) == []
    assert run.tick(0.4) == []
    (end,) = run.tick(0.1)
    name = {-9: "SIGKILL", -15: "SIGTERM", -40: "signal 40"}[code]
    text = f"stage 1 (cpu, pid 101) was killed by {name}; {LOG}{why}"
    assert end == EndRun("worker died", text, exit_code)
    assert run.tick(10.0) == []


def test_an_end_that_nobody_has_seen_is_a_death_like_others() -> None:
    run = training()
    assert run.handle(WorkerExited(run.now, 1, 101, -9, "", "logs/worker-1.log", "")) == []
    text = f"stage 1 (cpu, pid 101) has ended, and nobody has seen how; {LOG}"
    assert EnterDeath(1, text, 0.5) in run.tick(0.5)


def test_who_has_ended_unseen_may_still_have_said_bye() -> None:
    run = training(2)
    run.handle(WorkerExited(run.now, 1, 101, -9, "", "logs/worker-1.log", ""))
    assert run.tick(0.4) == []
    run.bye(1)
    run.bye(0)
    assert run.tick(0.5) == [EndRun("done")]


def test_a_stage_alone_goes_on_behind_what_it_has_told_of() -> None:
    run = training(1)
    run.tell(0, next_batch_id=70)
    assert isinstance(run.exit(0)[0], EnterDeath)
    assert run.tick() == [StartWorker(0, 1)]
    run.hello(0, 1)
    (welcome,) = run.tick()
    assert isinstance(welcome, SendWelcome)
    assert (welcome.next_batch_id, welcome.above) == (70, "")
    assert run.ready(0, 1) == [Send("stage-0.1", Start(RUN))]


def test_when_restarts_are_used_up_the_first_death_is_told_last() -> None:
    run = training(max_restarts=1)
    run.exit(1)
    run.exit(2)
    (*_, end) = run.tick(0.5)
    text = "stage 2 (cpu, pid 102) was killed by SIGKILL; its log is logs/worker-2.log"
    first = f"; max_restarts 1 is used up, and this came first:\n{KILLED}"
    assert end == EndRun("worker died", text + first, 137)


@pytest.mark.parametrize("is_exit_first", [True, False])
def test_a_worker_that_says_why_it_fails_ends_the_run(is_exit_first: bool) -> None:
    run = training()
    if is_exit_first:
        assert run.exit(1, 3) == []
        assert run.tick(0.1) == []
    assert run.hear("stage-1", failed(1)) == []
    code = 3 if is_exit_first else 1
    assert run.tick() == [EndRun("worker died", last_words(1), code)]


def test_the_first_that_fails_is_the_cause() -> None:
    run = training()
    run.hear("stage-2", failed(2))
    run.hear("stage-1", failed(1))
    run.exit(1, 1)
    assert run.tick() == [EndRun("worker died", last_words(2), 1)]


def test_an_exit_gives_way_to_the_words_of_the_same_stage_alone() -> None:
    run = training(max_restarts=0)
    run.exit(1)
    run.hear("stage-2", failed(2))
    assert run.tick() == []
    run.hear("stage-1", failed(1))
    assert run.tick() == [EndRun("worker died", last_words(1), 137)]


def test_one_that_ends_with_a_code_and_no_word_is_replaced_after_a_while() -> None:
    run = training()
    assert run.exit(1, 3) == []
    assert run.tick(0.4) == []
    _, *told, again = run.tick(0.1)
    assert told == [EnterDeath(1, EXITED, 0.5), Note(f"{EXITED}; it is replaced (1 of 9)")]
    assert again == StartWorker(1, 1)


def test_one_that_ends_well_before_its_bye_is_read_has_ended_well() -> None:
    run = training(2)
    run.exit(1, 0)
    assert run.tick(4.0) == []
    run.hear("stage-1", Bye(RUN, 1))
    assert run.tick(50.0) == []
    run.bye(0)
    assert run.tick() == [EndRun("done")]


def test_a_death_beside_one_whose_bye_is_not_read_yet_is_not_forgotten() -> None:
    run = training(3)
    run.bye(2)
    run.exit(1, 0)
    run.tick(0.1)
    run.exit(0)
    run.bye(1)
    (end,) = run.tick(0.5)
    assert isinstance(end, EndRun)
    assert end.why.startswith("stage 0 (cpu, pid 100) was killed by SIGKILL")


def test_one_that_ends_well_without_a_bye_ends_the_run() -> None:
    run = training(2)
    run.exit(1, 0)
    assert run.tick(4.9) == []
    assert run.tick(0.1) == [
        EndRun("worker died", f"stage 1 (cpu, pid 101) exited with code 0; {LOG}", 1)
    ]


def test_the_exit_of_one_that_has_left_or_was_replaced_is_nothing_new() -> None:
    run = training(2)
    run.bye(1)
    assert run.exit(1, 0) == []
    assert run.exit(1, -9) == []  # its weights are there
    assert run.exit(0, pid=4711) == []
    assert run.tick(5.0) == []


@pytest.mark.parametrize("stage", [0, 1])
def test_a_death_after_the_last_epoch_or_a_bye_ends_the_run(stage: int) -> None:
    run = training(2, last_epoch=5)
    run.exit(stage)
    assert isinstance(run.tick(0.5)[-1], EndRun)
    run = training(2)
    run.bye(1 - stage)
    run.exit(stage)
    assert isinstance(run.tick(0.5)[-1], EndRun)


@pytest.mark.parametrize("changes", [{}, {"rule_forbids": "which is exact"}])
def test_one_that_is_killed_before_others_know_of_it_is_started_again(
    changes: dict[str, Any],
) -> None:
    run = Run(2, **changes)
    run.begin()
    for stage in (0, 1):
        run.start(stage, 100 + stage)
    run.hello(0)
    text = "stage 0 (cpu, pid 100) was killed by SIGKILL; its log is logs/worker-0.log"
    again, note = run.exit(0)
    assert again == StartWorker(0, 1)
    assert note == Note(f"{text}; another one is started (1 of 9)")
    assert run.hello(1) == []
    run.start(0, 200)
    assert [type(action) for action in run.hello(0, 1)] == [SendWelcome] * 2
    run.ready(0, 1)
    run.ready(1)
    assert run.tick()[-1] == EnterStart((200, 101))


def test_one_that_is_killed_in_the_handshake_has_all_begin_again() -> None:
    run = Run(3)
    run.begin()
    for stage in run.stages:
        run.start(stage, 100 + stage)
        run.hello(stage)
    run.ready(2)
    *actions, note = run.exit(1)
    stop = Stop(RUN, "a worker has died before the start", again=True)
    assert actions == [
        Send("stage-0", stop),
        StartWorker(0, 1),
        StartWorker(1, 1),
        Send("stage-2", stop),
        StartWorker(2, 1),
    ]
    assert isinstance(note, Note)
    assert run.exit(0, 0) == []
    for stage in run.stages:
        run.start(stage, 200 + stage)
    assert run.exit(2, 0) == []
    assert run.ready(0) == [], "the first one said so before it heard"
    for stage in run.stages:
        welcomes = run.hello(stage, 1)
    assert [type(action) for action in welcomes] == [SendWelcome] * 3
    for stage in run.stages:
        assert not any(isinstance(action, EnterStart) for action in run.tick())
        run.ready(stage, 1)
    assert run.tick()[-1] == EnterStart((200, 201, 202))


@pytest.mark.parametrize(
    ("said", "late", "again"),
    [
        ([], ["hello", "ready"], []),
        ([], ["hello"], ["ready"]),
        (["hello"], ["ready"], []),
        (["hello"], [], ["ready"]),
        (["hello", "ready"], [], []),
    ],
    ids=["nothing heard", "Ready last", "Hello heard", "Ready after the next Hello", "all heard"],
)
def test_late_words_of_one_that_died_before_the_start_are_passed_over_in_silence(
    said: list[str], late: list[str], again: list[str]
) -> None:
    """said: before it dies; late: when that is known; again: when the next one has said Hello."""
    run = Run(2)
    run.begin()
    for stage in run.stages:
        run.start(stage, 100 + stage)
    for word in said:
        getattr(run, word)(1)
    run.exit(1)
    for word in late:
        assert getattr(run, word)(1) == []
    run.start(1, 201)
    assert run.hello(1, 1) == []
    for word in again:
        assert getattr(run, word)(1) == []
    assert len(run.hello(0)) == 2
    run.ready(1, 1)
    run.ready(0)
    assert run.tick()[-1] == EnterStart((100, 201))


def test_deaths_before_the_start_use_restarts_up() -> None:
    run = Run(2, max_restarts=1)
    run.begin()
    run.start(0, 100)
    run.exit(0)
    run.start(0, 200)
    run.exit(0, pid=200)
    (end,) = run.tick(0.5)
    assert isinstance(end, EndRun)
    assert "; max_restarts 1 is used up, and this came first:\nstage 0 (cpu, pid 100)" in end.why


@pytest.mark.parametrize(("code", "changes"), [(1, {}), (-9, {"max_restarts": 0})])
def test_one_that_fails_by_itself_before_the_start_ends_the_run(
    code: int, changes: dict[str, Any]
) -> None:
    run = Run(2, **changes)
    run.begin()
    run.start(0, 100)
    run.hello(0)
    run.exit(0, code)
    (end,) = run.tick(0.5)
    assert isinstance(end, EndRun)
    assert end.why.startswith("stage 0 (cpu, pid 100) ")
