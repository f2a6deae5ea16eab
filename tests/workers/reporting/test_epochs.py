"""What each place of a line tells when a marker passes, and which epoch it says is going on."""

from __future__ import annotations

import math
import time
from typing import Any, cast

import pytest
import torch

from dni_async.config.run_config import RunConfig
from dni_async.decisions.actions import Cut, Mark
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.losses.metrics.catalog import make_metrics
from dni_async.stage.losses.metrics.examination import Examination
from dni_async.synthesizers.boundary import Boundary
from dni_async.synthesizers.making import make_boundary
from dni_async.wire.messages import (
    BoundaryEpoch,
    EpochLoss,
    EpochTrained,
    Evaluated,
    MarkerKind,
    Message,
    Welcome,
)
from dni_async.workers.reporting.epochs import Epochs
from dni_async.workers.reporting.points import StageCurve
from dni_async.workers.reporting.tally import Tally
from dni_async.workers.reporting.telling import Telling
from dni_async.workers.startup.seat import Seat

WELCOME = Welcome("run", 3, 0, 1, "cpu", 1, "", "", (64,), False, 10, 100)


class Silent:
    """A link over which nobody listens."""

    def send(self, message: Message) -> None:
        """Nothing comes of it."""


LINK: Any = Silent()
PLACES = {"source": (0, None, LINK), "middle": (1, LINK, LINK), "head": (2, LINK, None)}


class Coordinator:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Message] = []

    def send(self, message: Message) -> None:
        """Queue nothing, keep all."""
        self.told.append(message)


def make(
    place: str, boundary: Boundary | None = None, evaluate_every: int = 1, *, drains: bool = True
) -> tuple[Epochs, list[Message]]:
    """The epochs of a worker at this place, and what it tells."""
    stage, inbox, outbox = PLACES[place]
    coordinator = Coordinator()
    seat = Seat(WELCOME, RunConfig(evaluate_every=evaluate_every), stage, inbox, outbox)
    examination = Examination(make_loss("cross-entropy", (2,)), make_metrics(["accuracy"]))
    examination.add(torch.eye(2), torch.tensor([0, 0]))
    told = coordinator.told
    tally = Tally()
    curve = StageCurve(seat, cast("Any", None), tally)
    telling = Telling(seat, cast("Any", coordinator))
    tally.tested_s = 0.25
    return Epochs(seat, telling, boundary, examination, curve, tally, drains=drains), told


@pytest.mark.parametrize(
    ("place", "kind", "kinds"),
    [
        ("source", "trained", [EpochTrained, BoundaryEpoch]),
        ("source", "evaluated", []),
        ("middle", "trained", [BoundaryEpoch]),
        ("middle", "evaluated", []),
        ("head", "trained", [EpochLoss]),
        ("head", "evaluated", [Evaluated]),
        ("head", "stop", []),
        ("middle", "stop", []),
        ("source", "stop", []),
    ],
)
def test_what_is_told_of_an_epoch(place: str, kind: MarkerKind, kinds: list[type[Message]]) -> None:
    epochs, told = make(place)
    epochs.begin(4)
    epochs.add_loss(0.5, 10.0, 10)
    epochs.announce(Mark(kind, 4))
    assert [type(message) for message in told] == kinds
    assert all(getattr(message, "epoch", None) == 4 for message in told)


def test_the_head_tells_what_a_test_came_to_once() -> None:
    epochs, told = make("head")
    for epoch in (1, 2):
        epochs.announce(Mark("evaluated", epoch))
    first, second = (message for message in told if isinstance(message, Evaluated))
    assert (first.metrics, first.num_samples) == ({"accuracy": 0.5}, 2)
    assert first.loss == pytest.approx((math.log(1 + math.e) + math.log(1 + 1 / math.e)) / 2)
    assert (second.metrics, second.num_samples) == ({}, 0)
    assert math.isnan(second.loss)


@pytest.mark.parametrize("place", ["middle", "head"])
def test_above_the_source_the_epoch_is_the_last_that_ended(place: str) -> None:
    epochs, _ = make(place)
    assert epochs.epoch == 0
    for mark in (Mark("trained", 1), Mark("trained", 2), Mark("stop", 0)):
        epochs.announce(mark)
    assert epochs.epoch == 2


def test_a_boundary_tells_of_one_epoch_at_a_time() -> None:
    config = RunConfig(synthesizer="linear", targets="bootstrap")
    boundary = make_boundary(config, make_loss("cross-entropy", (10,)), torch.device("cpu"))
    epochs, told = make("middle", boundary)
    hidden, labels = torch.ones(4, 6), torch.arange(4)
    for staleness in (3, 1, 1):
        boundary.learn(hidden, labels, torch.ones(4, 6))
        epochs.add_lesson(staleness)
    epochs.announce(Mark("trained", 1))
    epochs.announce(Mark("trained", 2))
    first, second = told
    assert isinstance(first, BoundaryEpoch)
    assert (first.stage, first.epoch, first.num_gradients) == (1, 1, 3)
    assert (first.staleness_median, first.staleness_max) == (1, 3)
    assert 0 < first.cosine < 1  # of the first it had learnt nothing
    assert second == BoundaryEpoch("run", 1, 2, 0, 0.0, 0.0, 0.0, 0, 0)


def test_a_resumed_head_goes_on_with_the_sums_of_the_epoch() -> None:
    before, _ = make("head")
    before.add_loss(2.0, 3.0, 3)
    after, told = make("head")
    after.restore(before.state(Cut(70, 4, 2)), 4)
    assert after.epoch == 3  # the last one that ended
    after.add_loss(1.0, 1.0, 1)
    after.announce(Mark("trained", 4))
    assert told == [EpochLoss("run", 4, 7 / 4, 4)]


def test_a_resumed_source_goes_on_with_the_seconds_of_the_epoch() -> None:
    after, told = make("source")
    after.restore({"seconds": 1000.0}, 4)
    after.start()
    assert after.epoch == 4
    after.announce(Mark("trained", 4))
    assert isinstance(told[0], EpochTrained)
    assert told[0].seconds >= 1000


def test_a_source_times_all_epochs_since_the_last_test(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("dni_async.workers.reporting.epochs.time.perf_counter", lambda: now)
    epochs, told = make("source", evaluate_every=2)
    for epoch in (1, 2, 3):
        epochs.begin(epoch)
        assert epochs.epoch == epoch
        now += 10.0
        if epoch == 2:
            epochs.announce(Mark("trained", 2))
            now += 1000.0  # the test
    assert isinstance(told[0], EpochTrained)
    assert told[0].seconds == 20.0
    assert epochs.seconds == 10.0
    # A run that goes on where a test has just been, or in between, knows what went before.
    assert epochs.state(Cut(9, 3, 0))["seconds"] == 0.0
    assert epochs.state(Cut(9, 3, 1))["seconds"] == 10.0
    assert epochs.state(Cut(9, 4, 0))["seconds"] == 10.0


def test_without_a_drained_line_an_epoch_begins_where_the_one_before_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The source has begun the second when the first is over everywhere."""
    now = [10.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    epochs, told = make("source", drains=False)
    events = [(11.0, 1), (14.0, 2), (15.0, "trained"), (16.0, "evaluated"), (21.0, "trained")]
    seen, ended = [], {"trained": 0, "evaluated": 0}
    for now[0], event in events:
        if isinstance(event, int):
            epochs.begin(event)
        else:
            ended[event] += 1
            epochs.announce(Mark(cast("MarkerKind", event), ended[event]))
        seen.append((epochs.begun, epochs.epoch))
    assert seen == [(1, 1), (2, 1), (2, 1), (2, 2), (2, 2)]
    assert [word.seconds for word in told if isinstance(word, EpochTrained)] == [4.0, 6.0]
    tested = [word.tested_s for word in told if isinstance(word, BoundaryEpoch)]
    assert tested == [0.25, 0.0]


def test_with_a_drained_line_no_test_runs_while_others_train() -> None:
    epochs, told = make("head")
    epochs.announce(Mark("trained", 1))
    assert [word.tested_s for word in told if isinstance(word, EpochLoss)] == [0.0]
