"""A member that may not say it changes no figure, whatever it says and how often."""

from __future__ import annotations

import dataclasses
import tracemalloc

import pytest

from dni_async.launcher.decisions.actions import (
    EnterEpoch,
    KeepSaved,
    Note,
    RunAction,
    SendShard,
)
from dni_async.launcher.decisions.epochs import OpenEpochs, WholeEpoch
from dni_async.launcher.decisions.events import PartHeard
from dni_async.wire.messages import (
    PROTOCOL,
    Alive,
    BoundaryEpoch,
    Bye,
    EpochLoss,
    EpochTrained,
    Evaluated,
    Failed,
    FileWanted,
    Hello,
    InboxMoved,
    Join,
    Ready,
    Saved,
    WorkerMessage,
)
from tests.launcher.decisions.runs import RUN, Run, remote, seated, told, training

FORGED = (
    EpochTrained(RUN, 1, 0.001),
    EpochLoss(RUN, 1, 0.0, 100),
    Evaluated(RUN, 1, 0.0, {"accuracy": 1.0}, 2),
    *(BoundaryEpoch(RUN, stage, 1, 9, 1.0, 0.0, 1.0, 0, 0) for stage in range(3)),
)


def all_kinds(stage: int = 0) -> list[WorkerMessage]:
    """One of each, well-formed, as good as can be known."""
    return [
        *FORGED,
        Alive(7),
        Hello(PROTOCOL, RUN, stage, 7, "host", "tcp://127.0.0.1:1", 0),
        Ready(RUN, stage),
        told(stage, updates=7),
        Saved(RUN, stage, 10, 1, 0, 100, "a" * 64, ""),
        Failed(RUN, stage, "cpu", "it fails", "a traceback"),
        Bye(RUN, stage),
        InboxMoved(RUN, stage, 1, "tcp://127.0.0.1:1"),
        FileWanted(RUN, stage),
    ]


def notes(actions: list[RunAction]) -> list[str]:
    """What the user is told; nothing else may happen."""
    assert all(isinstance(action, Note) for action in actions), actions
    return [action.text for action in actions if isinstance(action, Note)]


def entered(run: Run, epoch: int = 1) -> WholeEpoch | None:
    """The epoch as it is entered when all who may have told of it."""
    for stage in run.stages[:-1]:
        run.hear(f"stage-{stage}", BoundaryEpoch(RUN, stage, epoch, 0, 0.0, 0.0, 0.0, 0, 0))
    whole = [a.epoch for a in run.end_epoch(epoch) if isinstance(a, EnterEpoch)]
    return whole[0] if whole else None


@pytest.mark.parametrize("forger", ["a stranger", "a spare"])
def test_who_hosts_no_stage_forges_no_result(forger: str) -> None:
    """Three words of a spare made 10.83% of accuracy 100%, and ended the run at its target."""
    run = seated(3, target=0.9, ends_early=True)
    if forger == "a spare":
        run.join("forger")
    for message in FORGED:
        assert len(notes(run.hear("forger", message))) <= 1
    whole = entered(run)
    assert whole == entered(seated(3))


@pytest.mark.parametrize("stage", [0, 1])
def test_a_stage_forges_nothing_of_the_head(stage: int) -> None:
    run = training(3, target=0.9, ends_early=True)
    for message in FORGED[1:3]:
        (note,) = notes(run.hear(f"stage-{stage}", message))
        assert note.startswith(f"stage {stage}: ")
        assert note.endswith("was refused: it may come from the head alone")
    assert entered(run) == entered(training(3))


def test_a_stage_says_nothing_of_another() -> None:
    run = training(3)
    for message in all_kinds(stage=1):
        if getattr(message, "stage", 0) == 1:
            assert len(notes(run.hear("stage-2", message))) <= 1
    assert entered(run) == entered(training(3))


def test_a_flood_of_all_that_may_not_be_said_leaves_nothing_behind() -> None:
    """Nothing accepted, a bounded number of sentences, no memory."""
    run = seated(3)
    run.join("spare")
    messages = [*all_kinds(), *all_kinds(1), *all_kinds(2)]
    said = [note for each in messages for note in notes(run.hear("stranger", each))]
    spare = [note for each in all_kinds() for note in notes(run.hear("spare", each))]
    assert len(said) + len(spare) == 4  # and one of them for a Hello
    tracemalloc.start()
    more = []
    for number in range(20_000):
        peer = ("stranger", "spare")[number % 2]
        more += notes(run.hear(peer, messages[number % len(messages)]))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 100_000
    assert more == []
    assert run.machine.num_unheard >= 19_000
    assert run.machine.refusals.startswith("refused were of members that host no stage ")
    assert entered(run) == entered(seated(3))


def test_a_stage_that_is_hosted_is_not_taken_by_hello() -> None:
    run = training(2)
    forged = Hello(PROTOCOL, RUN, 1, 7, "host", "tcp://127.0.0.1:1", 0)
    assert notes(run.hear("stage-0", forged)) == [
        "stage 0: Hello was refused: it is a worker that has said Ready"
    ]
    assert len(notes(run.hear("stranger", forged))) == 1
    assert entered(run) == entered(training(2))


def test_saved_that_fills_memory_is_refused() -> None:
    """180 MB of it did: each of another batch, with a long reason."""
    run = training(2, num_batches=(10, 2))
    true = Saved(RUN, 1, 10, 1, 10, 0, "", "")
    for batch_id in range(50):
        said = dataclasses.replace(true, batch_id=batch_id, reason="x" * 60_000)
        assert len(notes(run.hear("stage-1", said))) == (batch_id == 0)
    for batch_id in range(1000, 1100):
        assert notes(run.hear("stage-1", dataclasses.replace(true, batch_id=batch_id))) == []
    unasked = training(2, saves=False)
    assert len(notes(unasked.hear("stage-1", Saved(RUN, 1, 12, 2, 0, 0, "", "")))) == 1


def test_what_the_dead_had_saved_does_not_count_against_its_successor() -> None:
    """Its last words may be read when its death is known."""
    run = training(2, num_batches=(10, 2))
    saved = Saved(RUN, 1, 2, 1, 2, 100, "a" * 64, "")
    later = dataclasses.replace(saved, batch_id=4, index=4)
    run.exit(1)
    for peer in ("stage-1", "stage-1.1"):
        for word in (saved, later):
            assert [type(action) for action in run.hear(peer, word)] == [KeepSaved]
        run.tick()
        run.start(1, 201)
        run.hello(1, 1)
        run.tick()
        run.ready(1, 1)


def test_a_file_is_sent_three_times_however_often_it_is_wanted() -> None:
    run = remote(2)
    for stage in run.stages:
        run.join(f"joiner {stage}", stage)
    run.tick()
    for stage in run.stages:
        run.hello(stage)
    for _ in range(3):  # it may come damaged
        assert run.hear("stage-1", FileWanted(RUN, 1)) == [SendShard("stage-1", 1)]
    again = [run.hear("stage-1", FileWanted(RUN, 1)) for _ in range(12)]
    assert sum(len(notes(each)) for each in again) == 1


def test_losses_of_many_epochs_are_few() -> None:
    """15,000 of them took 4 s, for each time all were sorted."""
    run = training(2, epochs=1_000_000)
    heard = 0
    for epoch in range(1, 15_001):
        before = run.machine.num_unheard
        notes(run.hear("stage-1", EpochLoss(RUN, epoch, 0.5, 100)))
        heard += run.machine.num_unheard == before
    assert heard == 4096
    epochs = OpenEpochs(2)
    for epoch in range(1, 4097):
        assert epochs.enter(EpochLoss(RUN, epoch, 0.5, 100)) == []


def test_a_progress_that_floods_is_heard_now_and_then() -> None:
    run = training(2)
    heard = sum(bool(run.tell(1, updates=number)) for number in range(5000))
    assert 100 < heard < 300
    run.tick(1.0)
    assert sum(bool(run.tell(1, updates=number)) for number in range(100)) == 8


def test_spares_are_limited_and_one_that_repeats_itself_is_one() -> None:
    run = remote(1)
    for number in range(400):
        run.join(f"peer {number}", token=str(number))
    beats = run.tick()
    assert len(beats) == 256 + 1 - 1  # one of them was given the stage
    for _ in range(5000):
        run.join("peer 7", token="another each time")
    assert len(run.tick(0.6)) == 255


def test_files_of_workers_that_write_them_themselves_are_refused() -> None:
    run = training(2)
    part = PartHeard(run.now, "stage-1", RUN, 1, "weights", 0, 48 * 1024, is_last=False)
    assert len(notes(run.handle(part))) == 1
    assert notes(run.handle(part)) == []


def test_a_file_that_does_not_end_is_cut_off() -> None:
    run = seated(2, most_file_bytes=1000)
    part = PartHeard(run.now, "stage-1", RUN, 1, "shard", 10, 400, is_last=False)
    kept = [run.handle(part) for _ in range(9)]
    assert [bool(each) for each in kept] == [True, True, True, *[False] * 6]
    assert "larger than it can be" in str(kept[2])


def test_a_late_word_is_passed_over_without_a_word() -> None:
    run = seated(2)
    assert notes(run.hear("joiner 1", Alive(7))) == []


def test_nobody_joins_a_run_whose_workers_are_all_its_own() -> None:
    run = training(2)
    offer = Join(PROTOCOL, 7, "h", "m", 8, 0, "cpu", 0, is_for_any=True, token="t")
    (note,) = notes(run.hear("stranger", offer))
    assert note.endswith("all workers of this run are the launcher's own")


def test_a_hello_that_was_read_after_its_sender_had_died_is_passed_over() -> None:
    run = training(2)
    run.exit(1)
    run.tick()
    run.start(1, 201)
    run.exit(1, pid=201)
    assert notes(run.hello(1, 1)) == []
