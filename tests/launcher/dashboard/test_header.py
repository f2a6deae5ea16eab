"""The head of a run's pages, from what is told."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dni_async.launcher.dashboard.facts import Facts, StageFacts
from dni_async.launcher.dashboard.header import told_header, told_pace
from dni_async.launcher.dashboard.ledger import Ledger, Moment, StageNow
from dni_async.launcher.dashboard.pace import Pace
from dni_async.launcher.report.results import EpochResult, RunResult
from tests.launcher.told import EPOCH, baseline, decoupled, progress

STAGES = (StageFacts(0, "0-1", "cpu"), StageFacts(1, "2", "cpu"))
FACTS = Facts("digits", "dni", 10, (90, 10), 64, 2, 0.1, STAGES, {"batch_size": 64})
PACE = Pace(0.5, 0.5, 0.25, 0.125, 0.0, 0.75, 20.0, 20.0, 1000.0, 10.0)


def moment(*runs: RunResult, status: str = "training", **changes: Any) -> Moment:
    """Stage 1 works most of its time; the source has taken half of all batches in 20 seconds."""
    slow = dataclasses.replace(PACE, busy=0.875)
    source = progress(0, next_batch_id=500, epoch=6)
    stages = {
        0: StageNow(source, 21.0, 1.0, ((21.0, PACE),)),
        1: StageNow(progress(1, next_batch_id=490), 21.0, 1.0, ((20.5, slow), (21.0, slow))),
    }
    given = {"facts": FACTS, "stages": stages, **changes}
    return Moment(1, 21.0, status, runs=runs, began_s=(0.5,) * len(runs), **given)


def test_a_run_that_trains_says_how_far_it_is_and_how_fast() -> None:
    head = told_header(moment(decoupled(EPOCH)))
    assert (head["epoch"], head["epochs"], head["share"]) == (6, 10, 0.5)
    assert head["left_s"] == 20.0
    assert (head["samples_per_second"], head["busy_cores"]) == (20 * 64, 1.5)
    assert (head["metric"], head["value"], head["num_restarts"]) == ("accuracy", 0.75, 1)
    assert head["says"] == ["stage 1 limits: it works 100% of its time"]


def test_before_anything_is_known_it_says_so_little() -> None:
    head = told_header(Ledger().moment())
    assert (head["status"], head["says"]) == ("starting", [])
    head = told_header(moment(decoupled(), stages={}))
    assert (head["share"], head["left_s"], head["value"], head["says"]) == (0.0, None, None, [])


def test_the_time_left_of_a_resumed_run_is_by_what_it_did_itself() -> None:
    source = progress(0, next_batch_id=700)
    resumed = {0: StageNow(source, 21.0, 1.0, (), first_id=600)}
    head = told_pace(moment(decoupled(EPOCH), stages=resumed))
    assert (head["epoch"], head["batch"], head["share"], head["left_s"]) == (8, 0, 0.7, 60.0)
    run = decoupled(EPOCH)
    run.began_at = 600
    begun = told_pace(moment(run, stages={}))
    assert (begun["epoch"], begun["share"], begun["left_s"]) == (7, 0.6, None)


@pytest.mark.parametrize(
    ("next_id", "epoch", "batch", "testing"),
    [(89, 1, 89, None), (90, 1, 90, None), (190, 2, 90, 0), (195, 2, 90, 5), (200, 3, 0, None)],
)
def test_a_test_begins_behind_the_last_batch_of_an_epoch_that_has_one(
    next_id: int, epoch: int, batch: int, testing: int | None
) -> None:
    facts = dataclasses.replace(FACTS, settings={"evaluate_every": 2})
    stages = {0: StageNow(progress(0, next_batch_id=next_id), 21.0, 1.0, ())}
    head = told_pace(moment(decoupled(), facts=facts, stages=stages))
    assert (head["epoch"], head["batch"], head["testing"]) == (epoch, batch, testing)


@pytest.mark.parametrize(
    ("told", "epoch", "batch", "testing", "rate"),
    [(140, 2, 50, None, 640.0), (180, 2, 90, 0, 1280.0), (60, 2, 0, None, None)],
)
def test_a_baseline_is_as_far_as_it_told(
    told: int, epoch: int, batch: int, testing: int | None, rate: float | None
) -> None:
    trained = ((17.0, 100), (21.0, told)) if rate else ((21.0, told),)
    head = told_pace(moment(decoupled(EPOCH), baseline(EPOCH), trained=trained))
    assert (head["epoch"], head["batch"], head["testing"]) == (epoch, batch, testing)
    assert head["samples_per_second"] == (rate or 2000.0)


def test_when_all_is_over_the_head_is_of_our_run_again() -> None:
    slow = EpochResult(1, 5.0, 0.25, 0.5, {"accuracy": 0.25}, 1000)
    training = told_header(moment(decoupled(EPOCH), baseline(slow)))
    assert (training["samples_per_second"], training["value"]) == (200.0, 0.25)
    over = told_header(moment(decoupled(EPOCH), baseline(slow), status="finished"))
    assert (over["samples_per_second"], over["value"], over["phase"]) == (2000.0, 0.75, "finished")
    begun = told_header(moment(decoupled(EPOCH), baseline()))
    assert (begun["samples_per_second"], begun["value"]) == (None, None)


def test_a_baseline_has_its_own_progress_and_is_compared() -> None:
    head = told_header(moment(decoupled(EPOCH), baseline(EPOCH)))
    assert (head["phase"], head["epoch"], head["share"]) == ("baseline", 2, 0.1)
    assert head["says"] == [
        (
            "1.00x the samples/s of baseline (faster); accuracy 75.00% against 75.00% after epoch "
            "1; 75.00% in 0.50 s against 0.50 s of training"
        )
    ]


def test_no_ratio_is_told_where_others_took_the_cores() -> None:
    ours, one = decoupled(EPOCH), baseline(EPOCH)
    busy = dataclasses.replace(FACTS, load=3.0)
    assert told_header(moment(ours, one, facts=busy))["says"] == [
        "not comparable with baseline: before the run 3.0 processes wanted 2 cores"
    ]
    ours.others_cores = 0.0
    one.others_cores = 1.5
    (said,) = told_header(moment(ours, one, facts=busy))["says"]
    assert said.endswith(": while baseline trained, other programs kept 1.5 of 2 cores busy")
