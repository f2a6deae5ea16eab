"""What cannot be true of the run is refused, whoever says it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from dni_async.launcher.decisions.hearing.values import why_impossible
from dni_async.wire.counters import Counters, LinkAbove, Times, Work
from dni_async.wire.messages import (
    PROTOCOL,
    BoundaryEpoch,
    EndReached,
    EpochLoss,
    EpochTrained,
    Evaluated,
    Hello,
    InboxMoved,
    Join,
    Progress,
    Saved,
    WorkerMessage,
)
from dni_async.wire.points import Point
from tests.launcher.decisions.runs import RUN, terms

TERMS = terms(2, epochs=5, num_batches=(10, 2), num_updates=50, num_test=20, places=["remote"] * 2)
NAN, INF = math.nan, math.inf

JOIN = Join(PROTOCOL, 7, "host", "machine", 8, 0, "cpu", 0, is_for_any=True, token="t")
HELLO = Hello(PROTOCOL, RUN, 1, 7, "host", "tcp://127.0.0.1:1", 0, "place", "ipc://@name")
MOVED = InboxMoved(RUN, 1, 1, "tcp://127.0.0.1:1")
TRAINED = EpochTrained(RUN, 5, 0.5)
LOSS = EpochLoss(RUN, 1, 0.5, 100)
TESTED = Evaluated(RUN, 1, 0.5, {"accuracy": 0.5}, 20)
BOUNDARY = BoundaryEpoch(RUN, 0, 1, 3, 0.5, 0.5, 0.5, 2, 3)
SAVED = Saved(RUN, 1, 27, 3, 3, 100, "0" * 64, "")
POINT = Point(10, 0.5, 100, 0.5)
PROGRESS = Progress(RUN, 1, Counters(work=Work(next_batch_id=60, epoch=5)), (POINT,))


@pytest.mark.parametrize(
    "message",
    [
        JOIN,
        HELLO,
        dataclasses.replace(HELLO, stage=0, endpoint="", near=""),
        MOVED,
        TRAINED,
        EndReached(RUN, 0),
        EndReached(RUN, 5),
        LOSS,
        dataclasses.replace(LOSS, loss=NAN, num_samples=0),
        dataclasses.replace(LOSS, loss=-3.5),
        TESTED,
        dataclasses.replace(TESTED, loss=NAN, metrics={}, num_samples=0),
        BOUNDARY,
        SAVED,
        dataclasses.replace(SAVED, size_bytes=0, sha256="", reason="No space left on device"),
        dataclasses.replace(SAVED, batch_id=60, epoch=6, index=0),  # behind the last test
        PROGRESS,
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_can_be_is_not_refused(message: WorkerMessage) -> None:
    assert why_impossible(TERMS, message) == ""


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        (JOIN, {"host": "h" * 256}),
        (JOIN, {"token": "t" * 60_000}),
        (JOIN, {"num_cores": 2**40}),
        (HELLO, {"pid": 2**40}),
        (HELLO, {"host": "h" * 60_000}),
        (HELLO, {"endpoint": ""}),
        (HELLO, {"endpoint": "inproc://zeromq.zap.01"}),
        (HELLO, {"endpoint": "tcp://127.0.0.1:1\x1b[2J"}),
        (HELLO, {"endpoint": "tcp://" + "h" * 600}),
        (HELLO, {"near": "near"}),
        (MOVED, {"endpoint": "udp://127.0.0.1:1"}),
        (TRAINED, {"epoch": 0}),
        (TRAINED, {"epoch": 6}),
        (TRAINED, {"seconds": -1.0}),
        (TRAINED, {"seconds": INF}),
        (TRAINED, {"seconds": NAN}),
        (LOSS, {"epoch": 2**62}),
        (LOSS, {"loss": INF}),
        (LOSS, {"num_samples": 2**60}),
        (TESTED, {"epoch": 0}),
        (TESTED, {"num_samples": 21}),
        (TESTED, {"metrics": {"accuracy": INF}}),
        (TESTED, {"loss": -INF}),
        (BOUNDARY, {"epoch": 6}),
        (BOUNDARY, {"cosine": INF}),
        (BOUNDARY, {"num_gradients": 2**60}),
        (SAVED, {"batch_id": 28}),
        (SAVED, {"index": 10}),
        (SAVED, {"epoch": 7, "batch_id": 75}),
        (SAVED, {"epoch": 0, "batch_id": 0}),
        (SAVED, {"sha256": "0" * 63}),
        (SAVED, {"sha256": "G" * 64}),
        (SAVED, {"reason": "x" * 5000}),
    ],
)
def test_what_cannot_be_is_refused(message: WorkerMessage, changes: dict[str, Any]) -> None:
    assert why_impossible(TERMS, dataclasses.replace(message, **changes)) != ""


@pytest.mark.parametrize(
    "counters",
    [
        Counters(work=Work(epoch=7)),
        Counters(work=Work(next_batch_id=61)),
        Counters(work=Work(updates=2**60)),
        Counters(times=Times(busy_s=INF)),
        Counters(times=Times(waiting_s=NAN)),
        Counters(link=LinkAbove(carrier="c" * 60_000)),
    ],
)
def test_counters_of_no_run_are_refused(counters: Counters) -> None:
    assert why_impossible(TERMS, Progress(RUN, 1, counters)) != ""


@pytest.mark.parametrize(
    "points",
    [
        (dataclasses.replace(POINT, updates=51),),
        (dataclasses.replace(POINT, updates=0),),
        (POINT, POINT),
        (dataclasses.replace(POINT, span_s=INF),),
        (dataclasses.replace(POINT, span_s=-1.0),),
        (dataclasses.replace(POINT, span_s=NAN),),
        (dataclasses.replace(POINT, loss=INF),),
        (dataclasses.replace(POINT, num_samples=2**60),),
    ],
)
def test_points_of_no_curve_are_refused(points: tuple[Point, ...]) -> None:
    assert why_impossible(TERMS, Progress(RUN, 1, Counters(), points)) != ""


def test_a_run_without_checkpoints_has_none() -> None:
    assert why_impossible(terms(2, saves=False), SAVED) == "no checkpoints were asked for"


def test_a_run_whose_workers_are_its_own_is_not_joined() -> None:
    assert "the launcher's own" in why_impossible(terms(2), JOIN)
