"""What workers tell is entered, and what follows from it is decided."""

from __future__ import annotations

import math

from dni_async.launcher.decisions.actions import (
    EnterEpoch,
    EnterFirstUpdates,
    EnterProgress,
    EnterRecovery,
    EnterStop,
    EnterWorker,
    KeepPart,
    KeepSaved,
    Note,
    RunAction,
    Send,
    SendShard,
)
from dni_async.launcher.decisions.epochs import WholeEpoch
from dni_async.launcher.decisions.events import ActorEnded, PartHeard, StopAsked
from dni_async.wire.messages import (
    BoundaryEpoch,
    Drain,
    EndReached,
    EpochEntered,
    EpochLoss,
    EpochTrained,
    Evaluated,
    FileWanted,
    Saved,
    Start,
    Stop,
    TellAgain,
)
from tests.launcher.decisions.runs import RUN, Run, seated, told, training


def boundary(epoch: int, stage: int = 0) -> BoundaryEpoch:
    """What a stage below the head tells."""
    return BoundaryEpoch(RUN, stage, epoch, 0, 0.0, 0.0, 0.0, 0, 0)


def whole(epoch: int, accuracy: float = 0.5, num_tested: int = 2) -> EnterEpoch:
    """An epoch as end_epoch tells of it."""
    return EnterEpoch(
        WholeEpoch(epoch, 1.5, 0.25, 0.5, {"accuracy": accuracy}, 100, num_tested, ())
    )


def ended(run: Run, epoch: int, accuracy: float = 0.5, num_tested: int = 2) -> list[RunAction]:
    """What follows when all has been told of an epoch of two stages."""
    run.hear("stage-0", boundary(epoch))
    return run.end_epoch(epoch, accuracy, num_tested)


def test_an_epoch_is_entered_once() -> None:
    run = training(2)
    assert ended(run, 1) == [whole(1)]
    assert ended(run, 1) == []
    assert ended(run, 2) == [whole(2)]


def test_all_who_work_hear_that_an_epoch_is_known() -> None:
    run = training(2)
    run.hear("stage-0", EpochTrained(RUN, 1, 1.5))
    run.hear("stage-1", EpochLoss(RUN, 1, 0.25, 100))
    run.hear("stage-1", Evaluated(RUN, 1, 0.5, {"accuracy": 0.5}, 2))
    known = EpochEntered(RUN, 1)
    assert run.hear("stage-0", boundary(1)) == [
        whole(1),
        Send("stage-0", known),
        Send("stage-1", known),
    ]


def test_a_source_at_its_end_hears_what_is_known_and_who_has_not_told_is_asked() -> None:
    run = training(3)
    run.hear("stage-0", EpochTrained(RUN, 1, 1.5))
    run.hear("stage-2", EpochLoss(RUN, 1, 0.25, 100))
    run.hear("stage-1", boundary(1, 1))
    assert run.hear("stage-0", EndReached(RUN, 1)) == [
        Send("stage-0", TellAgain(RUN, 1)),  # of its boundary
        Send("stage-2", TellAgain(RUN, 1)),
    ]
    run.hear("stage-0", EpochTrained(RUN, 1, 9.0))  # it tells all
    run.hear("stage-0", boundary(1))
    run.hear("stage-2", EpochLoss(RUN, 1, 0.25, 100))
    entered, *_ = run.hear("stage-2", Evaluated(RUN, 1, math.nan, {}, 0))
    assert isinstance(entered, EnterEpoch)
    assert (entered.epoch.seconds, entered.epoch.num_samples) == (1.5, 100)
    assert (entered.epoch.test_loss, entered.epoch.num_tested) == (None, 0)
    assert run.hear("stage-0", EndReached(RUN, 1)) == [Send("stage-0", EpochEntered(RUN, 1))]


def test_whoever_takes_a_place_at_the_end_is_asked_as_well() -> None:
    run = training(2)
    for message in (EpochTrained(RUN, 1, 1.5), boundary(1), EndReached(RUN, 1)):
        run.hear("stage-0", message)
    run.exit(1)
    run.tick()
    run.hello(1, 1)
    run.tick()
    assert run.ready(1, 1) == [
        Send("stage-1.1", Start(RUN)),
        Send("stage-1.1", TellAgain(RUN, 1)),
    ]


def test_the_target_ends_the_run_early_once() -> None:
    run = training(2, target=0.9, ends_early=True)
    assert ended(run, 1, 0.89) == [whole(1, 0.89)]
    assert ended(run, 2, 1.0, num_tested=1) == [whole(2, 1.0, 1)]  # by chance
    assert ended(run, 3, 0.9) == [
        whole(3, 0.9),
        Note("the run ends with epoch 3: the target is reached: accuracy is 0.9"),
        Send("stage-0", Drain(RUN)),
    ]
    assert ended(run, 4, 0.95) == [whole(4, 0.95)]


def test_who_watches_may_ask_for_the_end_once() -> None:
    run = training(2)
    ended(run, 1)
    asked = [EnterStop("enough"), Note("the run ends, as it was asked to: enough")]
    assert run.handle(StopAsked(run.now, "enough")) == [*asked, Send("stage-0", Drain(RUN))]
    assert run.handle(StopAsked(run.now, "again")) == []
    assert ended(run, 2) == [whole(2)]  # it was under way


def test_the_last_epoch_is_no_less_the_end_for_being_asked_for() -> None:
    run = training(2, epochs=1)
    ended(run, 1)
    assert run.handle(StopAsked(run.now, "enough")) == []


def test_a_source_that_has_not_begun_is_told_of_the_end_before_its_start() -> None:
    run = Run(2)
    run.begin()
    asked = [EnterStop("enough"), Note("the run ends, as it was asked to: enough")]
    assert run.handle(StopAsked(run.now, "enough")) == asked
    for stage in run.stages:
        run.start(stage, 100 + stage)
        run.hello(stage)
    for stage in run.stages:
        run.ready(stage)
    sent = [action for action in run.tick() if isinstance(action, Send)]
    assert sent == [
        Send("stage-0", Drain(RUN)),
        *(Send(f"stage-{stage}", Start(RUN)) for stage in run.stages),
    ]


def test_patience_ends_the_run_after_epochs_that_are_no_better() -> None:
    run = training(2, patience=2)
    assert ended(run, 1, 0.6) == [whole(1, 0.6)]
    assert ended(run, 2, 0.9, num_tested=1) == [whole(2, 0.9, 1)]  # by chance
    assert ended(run, 3, 0.6) == [
        whole(3, 0.6),
        Note("the run ends with epoch 3: accuracy has not been better than 0.6 for 2 epochs"),
        Send("stage-0", Drain(RUN)),
    ]
    resumed = training(2, epochs=9, patience=2, last_epoch=4, best=0.7, best_epoch=4)
    assert ended(resumed, 5, 0.6) == [whole(5, 0.6)]
    assert len(ended(resumed, 6, 0.6)) == 3


def test_without_a_target_nothing_ends_early() -> None:
    assert ended(training(2), 1, 1.0) == [whole(1, 1.0)]


def test_the_first_updates_of_all_are_noticed() -> None:
    run = training(2)
    assert run.tell(0, updates=1) == [EnterProgress(told(0, updates=1))]
    assert run.tell(1, updates=3)[1:] == [EnterFirstUpdates()]
    assert run.tell(0, updates=9)[1:] == []
    run = training(2, is_resumed=True)
    run.tell(0, updates=1)
    assert run.tell(1, updates=3)[1:] == []


def test_a_stage_trains_again_with_its_replacements_first_update() -> None:
    run = training(2)
    run.tick(1.0)
    run.exit(1)
    run.tick()
    run.start(1, 201)
    run.hello(1, 1)
    run.tick()
    run.ready(1, 1)
    run.tick(0.25)
    assert run.tell(1, 1, updates=40)[1:] == []  # what it starts from
    run.tick(0.5)
    assert run.tell(1, 1, updates=41)[1:] == [
        EnterRecovery(1, 1.75),
        Note("stage 1 trains again after 0.75 s"),
    ]
    assert run.tell(1, 1, updates=42)[1:] == []


def test_an_epoch_of_two_sources_lasts_as_long_as_it_lasts() -> None:
    run = training(2)
    run.tell(0, epoch=1, epoch_s=5.0)
    run.now += 1.0
    run.exit(0)
    run.tick()
    run.move(1, 1, "ipc:///moved")
    run.hello(0, 1)
    run.tick()
    run.now += 2.0
    run.ready(0, 1)
    run.hear("stage-1", EpochLoss(RUN, 1, 0.25, 100))
    run.hear("stage-1", Evaluated(RUN, 1, 0.5, {"accuracy": 0.5}, 2))
    run.hear("stage-0.1", boundary(1))
    entered, *_ = run.hear("stage-0.1", EpochTrained(RUN, 1, 1.5))
    assert isinstance(entered, EnterEpoch)
    assert entered.epoch.seconds == 1.5 + 5.0 + 3.0


def test_an_epoch_that_a_dead_source_timed_lasts_as_that_said() -> None:
    """The time in which nobody was there is of the epoch after it."""
    run = training(2)
    run.tell(0, epoch=1, epoch_s=5.0)
    run.exit(0)
    run.tick()
    run.move(1, 1, "ipc:///moved")
    run.hello(0, 1)
    run.tick()
    run.now += 2.0
    run.ready(0, 1)
    seconds = []
    for epoch, again in ((1, True), (2, False)):
        run.hear("stage-0.1", EpochTrained(RUN, epoch, 6.0, again))
        run.hear("stage-0.1", boundary(epoch))
        run.hear("stage-1", EpochLoss(RUN, epoch, 0.25, 100))
        entered, *_ = run.hear("stage-1", Evaluated(RUN, epoch, 0.5, {}, 2))
        assert isinstance(entered, EnterEpoch)
        seconds.append(entered.epoch.seconds)
    assert seconds == [6.0, 8.0]


def test_files_are_kept_and_sent() -> None:
    run = seated(2)
    saved = Saved(RUN, 1, 10, 1, 0, 100, "a" * 64, "")
    assert run.hear("stage-1", saved) == [KeepSaved(saved)]
    assert run.handle(PartHeard(run.now, "stage-1", RUN, 1)) == [KeepPart(0)]
    for run_id, stage in ((RUN, 0), ("another", 1)):
        refused = run.handle(PartHeard(run.now, "stage-1", run_id, stage))
        assert all(isinstance(action, Note) for action in refused)
    run.handle(ActorEnded(run.now, 1, -9, "killed"))
    run.tick()
    run.join("spare", 1)
    run.tick()
    run.hello(1, 1)
    assert run.hear("stage-1.1", FileWanted(RUN, 1)) == [SendShard("stage-1.1", 1)]
    run.tick()
    run.ready(1, 1)
    assert run.handle(PartHeard(run.now, "stage-1.1", RUN, 1)) == [KeepPart(1)]


def test_at_the_end_what_is_whole_is_entered_and_all_are_asked_to_leave() -> None:
    run = training(2)
    stop = Stop(RUN, "the launcher ends the run")
    run.end_epoch(1)  # but no word of the boundary
    assert run.close() == [
        whole(1),
        EnterWorker(0, 100, "cpu"),
        EnterWorker(1, 101, "cpu"),
        Send("stage-0", stop),
        Send("stage-1", stop),
    ]
    assert Run(2).close() == []
