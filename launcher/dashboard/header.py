"""The head of a run's pages: how far it is, how fast, how long still, and what is to be said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dni_async.config.metric_names import traits_of_metric
from dni_async.launcher.dashboard.curves import row_of_run
from dni_async.launcher.dashboard.facts import Position
from dni_async.launcher.dashboard.ledger import Moment, StageNow
from dni_async.launcher.report.comparison import compare, lines
from dni_async.launcher.report.results import RunResult
from dni_async.launcher.report.rows import move_lines

__all__ = ["position", "told_header", "told_pace", "works"]

RATE_S = 5.0  # what is shown as a rate is of so many seconds
LIMITS = 0.5  # a stage that works less of its time limits nobody

Row = dict[str, Any]


def told_pace(moment: Moment) -> Row:
    """The head of a run that goes on, or has just ended."""
    head: Row = {"status": moment.status, "elapsed_s": round(moment.at_s, 1), "says": []}
    facts = moment.facts
    if facts is None or not moment.runs:
        return head
    run = moment.runs[-1 if moment.status == "training" else 0]
    head |= {
        "data": facts.data,
        "rule": facts.rule,
        "phase": run.name if moment.status == "training" else moment.status,
        "cores": facts.cores,
        "epochs": facts.epochs,
        "num_restarts": sum(len(each.restarts) for each in moment.runs),
        "num_moves": sum(len(each.moves) for each in moment.runs),
        **_progress(moment, run),
        **_result(run),
    }
    if run.kind == "decoupled" and moment.status == "training":
        head["busy_cores"] = _busy_cores(moment.stages)
        head["samples_per_second"] = _rate(moment) or _mean_rate(run)
        head["says"] += _limit(moment.stages)
    else:
        is_on = moment.status == "training"
        head["samples_per_second"] = (_baseline_rate(moment) if is_on else None) or _mean_rate(run)
    return head


def told_header(moment: Moment) -> Row:
    """The same, and how the runs compare so far; takes the longer the more epochs there are."""
    head = told_pace(moment)
    for each in moment.runs:
        head["says"] += move_lines({"moves": [move.to_dict() for move in list(each.moves)[-1:]]})
    if moment.facts is not None and moment.runs:
        rows = [row_of_run(each) for each in moment.runs]
        head["says"] += lines(compare(rows, _machine(moment)))
    return head


def _mean_rate(run: RunResult) -> float | None:
    """Samples per second of training so far; None before the first epoch has ended."""
    return round(run.samples_per_second, 1) if run.epochs else None


def _result(run: RunResult) -> Row:
    """The chosen metric after the last tested epoch of the run, by name."""
    metric = run.goal.metric
    told = {"metric": metric, "is_share": traits_of_metric(metric).is_share}
    if not run.epochs:
        return told | {"value": None, "train_loss": None, "tested": 0}
    last = run.epochs[-1]
    figures = {"value": run.figure(last), "train_loss": last.train_loss, "tested": last.epoch}
    return told | figures


def _progress(moment: Moment, run: RunResult) -> Row:
    """epoch: that goes on, of batches that it has. share: of the run that is done, 0 to 1.

    batch: of the epoch, those behind. testing: see Position. left_s: by the run's pace so far.
    """
    assert moment.facts is not None
    facts, done = moment.facts, run.epochs[-1].epoch if run.epochs else 0
    if moment.status != "training":
        return {"epoch": done, "share": min(1.0, done / facts.epochs), "left_s": None}
    at, first_share, began_s = position(moment, run)
    spent_s, gone = moment.at_s - began_s, at.share - first_share
    left_s = spent_s * (1 - at.share) / gone if gone > 0 and spent_s > 1 else None
    return {
        "epoch": max(at.epoch, min(done, facts.epochs)),
        "batch": at.batch,
        "batches": facts.num_batches[0],
        "testing": at.testing,
        "share": round(at.share, 4),
        "left_s": None if left_s is None else round(left_s, 1),
    }


def position(moment: Moment, run: RunResult) -> tuple[Position, float, float]:
    """Where run is, as last told; the share that was behind it when it began, and when it did."""
    assert moment.facts is not None
    facts, source = moment.facts, moment.stages.get(0)
    if run.kind == "decoupled" and source is not None:
        at = facts.at_id(source.last.counters.work.next_batch_id)
        return at, facts.at_id(source.first_id).share, source.first_s
    if run.kind == "decoupled":
        at = facts.at_id(run.began_at)
        return at, at.share, moment.began_s[-1]
    train = facts.num_batches[0]
    tested = run.epochs[-1].epoch * train if run.epochs else 0
    told = max((num_batches for _, num_batches in moment.trained), default=0)
    at = facts.at_batch(max(tested, told))
    if told > tested and told % train == 0 and facts.is_tested(told // train):
        at = Position(told // train, train, at.share, testing=0)
    return at, 0.0, moment.began_s[-1]


def _busy_cores(stages: Mapping[int, StageNow]) -> float | None:
    """Cores that the workers of all stages kept busy lately."""
    cores = [stage.recent[-1][1].cores for stage in stages.values() if stage.recent]
    return round(sum(cores), 2) if cores else None


def _rate(moment: Moment) -> float | None:
    """Samples per second of the head lately, without the time in which it tested."""
    assert moment.facts is not None
    head = moment.stages.get(len(moment.facts.stages) - 1)
    if head is None:
        return None
    paces = [pace for at_s, pace in head.recent if at_s > head.at_s - RATE_S and pace.updates]
    seconds = sum(pace.seconds for pace in paces)
    if not seconds:
        return None
    updates = sum(pace.updates * pace.seconds for pace in paces)
    return round(updates / seconds * moment.facts.samples_per_update, 1)


def _baseline_rate(moment: Moment) -> float | None:
    """Samples per second of a baseline lately, its tests included."""
    assert moment.facts is not None
    told = [each for each in moment.trained if each[0] > moment.at_s - RATE_S]
    if len(told) < 2 or told[-1][0] <= told[0][0]:
        return None
    (began_s, before), (at_s, now) = told[0], told[-1]
    size = int(moment.facts.settings["batch_size"])
    return round((now - before) * size / (at_s - began_s), 1)


def _limit(stages: Mapping[int, StageNow]) -> list[str]:
    """The stage that has least time left, if there are several and it works most of its time."""
    if len(stages) < 2:
        return []
    shares = {stage: works(now) for stage, now in stages.items()}
    slowest = max(shares, key=lambda stage: shares[stage])
    if shares[slowest] < LIMITS:
        return []
    return [f"stage {slowest} limits: it works {shares[slowest]:.0%} of its time"]


def works(now: StageNow) -> float:
    """The share of its time in which a stage lately computed or sent, 0 to 1."""
    paces = [pace for _, pace in now.recent[-8:]]
    seconds = sum(pace.seconds for pace in paces)
    busy = sum((pace.busy + pace.sending) * pace.seconds for pace in paces)
    return min(1.0, busy / seconds) if seconds else 0.0


def _machine(moment: Moment) -> Row:
    assert moment.facts is not None
    return {"cores": moment.facts.cores, "load": moment.facts.load}
