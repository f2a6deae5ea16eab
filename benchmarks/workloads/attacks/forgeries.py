"""Words of members that are not theirs to say, and floods of those that are."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil

from dni_async.launcher.decisions.actions import EnterEpoch, Note, RunAction
from dni_async.launcher.decisions.events import Begun, Heard, PartHeard, Ticked
from dni_async.launcher.decisions.run_machine import RunMachine
from dni_async.launcher.decisions.terms import RunTerms
from dni_async.wire.codec import decode, encode
from dni_async.wire.counters import Counters
from dni_async.wire.messages import (
    PROTOCOL,
    Alive,
    BoundaryEpoch,
    Bye,
    EndReached,
    EpochLoss,
    EpochTrained,
    Evaluated,
    Failed,
    FilePart,
    FileWanted,
    Hello,
    InboxMoved,
    Join,
    Message,
    Progress,
    Ready,
    Saved,
    WorkerMessage,
)
from dni_async.wire.points import Point

__all__ = ["all_kinds", "judge_floods", "judge_forgeries"]

NUM_STAGES = 3
RUN_ID = "0123456789abcdef"
EPOCHS = 1_000_000
ACCURACY = 0.25
WORDS_S = 1e-4  # from one message to the next, as fast as they can be decoded


def all_kinds(run_id: str, stage: int, epoch: int) -> list[Message]:
    """One message of every kind that a worker sends, as good as a forger can make it."""
    point = Point(1, 0.1, 100, 0.0)
    return [
        EpochTrained(run_id, epoch, 0.001),
        EpochLoss(run_id, epoch, 0.0, 100),
        Evaluated(run_id, epoch, 0.0, {"accuracy": 1.0}, 10),
        BoundaryEpoch(run_id, stage, epoch, 9, 1.0, 0.0, 1.0, 0, 0),
        EndReached(run_id, epoch),
        Hello(PROTOCOL, run_id, stage, 7, "host", "tcp://127.0.0.1:1"),
        Ready(run_id, stage),
        Progress(run_id, stage, Counters(), (point,)),
        Saved(run_id, stage, 0, 1, 0, 100, "0" * 64, ""),
        Failed(run_id, stage, "cpu", "it fails", "a traceback"),
        Bye(run_id, stage),
        InboxMoved(run_id, stage, 1, "tcp://127.0.0.1:1"),
        FileWanted(run_id, stage),
        FilePart(run_id, stage, "weights", 0, b"bytes", is_last=True),
    ]


class _Trial:
    """A machine of a run that trains, with a spare; what it decides is counted.

    Stage K is reached by ``stage-K``, the spare by ``spare``.
    """

    def __init__(self) -> None:
        self.machine = RunMachine(_terms())
        self.now = 0.0
        self.done: Counter[str] = Counter()  # actions by kind
        self.machine.handle(Begun(self.now))
        for stage in range(NUM_STAGES):
            self.say(f"join-{stage}", _join(stage, str(stage)))
        self.machine.handle(Ticked(self.now))
        for stage in range(NUM_STAGES):
            endpoint = f"tcp://127.0.0.1:{stage}" if stage else ""
            self.say(f"stage-{stage}", Hello(PROTOCOL, RUN_ID, stage, 7, "host", endpoint))
        for stage in range(NUM_STAGES):
            self.say(f"stage-{stage}", Ready(RUN_ID, stage))
        self.machine.handle(Ticked(self.now))
        self.say("spare", _join(NUM_STAGES, "spare"))
        self.done.clear()

    def say(self, peer: str, message: Message) -> list[RunAction]:
        """The message comes from peer: as frames, as they come in."""
        heard, _ = decode([bytes(encode(message)[0])])
        self.now += WORDS_S
        if isinstance(heard, FilePart):
            part = PartHeard(
                self.now, peer, heard.run_id, heard.stage, heard.kind, 0, len(heard.data), True
            )
            return self._count(self.machine.handle(part))
        assert isinstance(heard, WorkerMessage)
        return self._count(self.machine.handle(Heard(self.now, peer, heard)))

    def epoch(self, epoch: int) -> bool:
        """Those who may tell of an epoch do; whether it is entered as they have told."""
        head, told = NUM_STAGES - 1, []
        for stage in range(head):
            words = BoundaryEpoch(RUN_ID, stage, epoch, 1, 0.5, 0.5, 0.5, 0, 0)
            told += self.say(f"stage-{stage}", words)
        told += self.say("stage-0", EpochTrained(RUN_ID, epoch, 2.0))
        told += self.say(f"stage-{head}", EpochLoss(RUN_ID, epoch, 0.5, 10))
        metrics = {"accuracy": ACCURACY}
        told += self.say(f"stage-{head}", Evaluated(RUN_ID, epoch, 0.5, metrics, 10))
        whole = [action.epoch for action in told if isinstance(action, EnterEpoch)]
        return [(w.epoch, w.test_metrics, w.train_loss) for w in whole] == [(epoch, metrics, 0.5)]

    def _count(self, actions: list[RunAction]) -> list[RunAction]:
        self.done.update(type(action).__name__ for action in actions)
        return actions


def judge_forgeries(count: int) -> dict[str, Any]:
    """So many messages that their sender may not send: of every kind, by every role.

    A member that hosts nothing, a spare, the stage in the middle for the others, and the head and
    the source for each other.
    """
    trial = _Trial()
    forged = itertools.cycle(list(_forgeries(epoch=1)))
    figures = _judged(trial, (next(forged) for _ in range(count)))
    accepted = sum(trial.done.values()) - trial.done[Note.__name__]
    return {
        "forged_messages": count,
        "forged_kinds": len({type(message) for _, message in _forgeries(epoch=1)}),
        "forged_accepted": accepted,
        "forged_sentences": trial.done[Note.__name__],
        **{f"forged_{name}": value for name, value in figures.items()},
        "forged_figures_stand": trial.epoch(1),
    }


def judge_floods(count: int) -> dict[str, Any]:
    """So many messages that their sender may send, all different where they can be."""
    trial = _Trial()
    figures = _judged(trial, _floods(count))
    return {
        "flood_messages": count,
        "flood_not_heard": trial.machine.num_unheard,
        "flood_sentences": trial.done[Note.__name__],
        **{f"flood_{name}": value for name, value in figures.items()},
    }


def _judged(trial: _Trial, words: Iterator[tuple[str, Message]]) -> dict[str, Any]:
    """How long they take, and how much memory they leave behind."""
    process = psutil.Process()
    for peer, message in itertools.islice(words, 1000):
        trial.say(peer, message)
    before, began = process.memory_info().rss, time.perf_counter()
    for peer, message in words:
        trial.say(peer, message)
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "growth_bytes": process.memory_info().rss - before,
    }


def _forgeries(epoch: int) -> Iterator[tuple[str, Message]]:
    """Who says what is not theirs to say."""
    head = NUM_STAGES - 1
    for stage in range(NUM_STAGES):
        for message in all_kinds(RUN_ID, stage, epoch):
            if not isinstance(message, Hello):  # it has no ticket, and does not come this far
                yield "nobody", message
                yield "spare", message
            if stage != 1 and getattr(message, "stage", None) == stage:
                yield "stage-1", message
    yield "spare", EpochTrained(RUN_ID, epoch, 0.001)
    yield "stage-1", EpochTrained(RUN_ID, epoch, 0.001)
    for message in (EpochLoss(RUN_ID, epoch, 0.0, 9), Evaluated(RUN_ID, epoch, 0.0, {"a": 1.0}, 9)):
        yield "stage-0", message
        yield "stage-1", message
    yield f"stage-{head}", EpochTrained(RUN_ID, epoch, 0.001)
    yield f"stage-{head}", EndReached(RUN_ID, epoch)
    yield f"stage-{head}", BoundaryEpoch(RUN_ID, head, epoch, 9, 1.0, 0.0, 1.0, 0, 0)


def _floods(count: int) -> Iterator[tuple[str, Message]]:
    """Each says again and again what is theirs to say."""
    head = NUM_STAGES - 1
    for number in range(1, count + 1):
        match number % 9:
            case 0:
                yield "spare", Alive(number)
            case 1:
                yield "spare", _join(NUM_STAGES, str(number))
            case 2:
                yield f"join {number}", _join(NUM_STAGES, str(number))
            case 3:
                point = Point(number, 0.1, 1, 0.5)
                yield "stage-1", Progress(RUN_ID, 1, Counters(), (point,))
            case 4:
                words = Saved(RUN_ID, 1, number * 12, 1 + number, 0, 0, "", "x" * 4000)
                yield "stage-1", words
            case 5:
                yield f"stage-{head}", EpochLoss(RUN_ID, number, 0.5, 10)
            case 6:
                yield f"stage-{head}", Evaluated(RUN_ID, number, 0.5, {str(number): 0.5}, 10)
            case 7:
                yield "stage-0", EpochTrained(RUN_ID, 1, 1.0)
            case _:
                yield "stage-1", FilePart(RUN_ID, 1, "profile", 0, bytes(1000), is_last=True)


def _join(stage: int, token: str) -> Join:
    is_for_any = stage == NUM_STAGES
    return Join(PROTOCOL, 7, "host", "machine", 8, 0, "cpu", stage, is_for_any, token)


def _terms() -> RunTerms:
    """Of three stages that have joined, tested after every epoch of ten batches."""
    return RunTerms(
        run_id=RUN_ID,
        rule="dni",
        devices=["cpu"] * NUM_STAGES,
        places=["remote"] * NUM_STAGES,
        epochs=EPOCHS,
        num_batches=(10, 2),
        num_updates=10 * EPOCHS,
        log_every=1000,
        num_test=10,
        metric="accuracy",
        mode="max",
        target=0.9,
        ends_early=True,
        max_restarts=9,
        start_timeout_s=60.0,
        join_timeout_s=600.0,
        silent_after_s=30.0,
        stuck_after_s=120.0,
        logs="logs",
    )
