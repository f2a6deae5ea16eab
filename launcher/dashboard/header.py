"""The head of a run's pages: how far it is, how fast, how long still, and what is to be said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dni_async.config.metric_names import traits_of_metric
from dni_async.launcher.dashboard.curves import row_of_run
from dni_async.launcher.dashboard.ledger import Moment, StageNow
from dni_async.launcher.report.comparison import compare, lines
from dni_async.launcher.report.results import RunResult

__all__ = ["told_header"]

RATE_S = 5.0  # what is shown as a rate is of so many seconds
LIMITS = 0.5  # a stage that works less of its time limits nobody

Row = dict[str, Any]


def told_header(moment: Moment) -> Row:
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
        **_progress(moment, run),
        **_result(run),
    }
    if run.kind == "decoupled" and moment.status == "training":
        head["busy_cores"] = _busy_cores(moment.stages)
        head["samples_per_second"] = _rate(moment) or _mean_rate(run)
        head["says"] += _limit(moment.stages)
    else:
        head["samples_per_second"] = _mean_rate(run)
    head["says"] += lines(compare([row_of_run(each) for each in moment.runs], _machine(moment)))
    return head


def _mean_rate(run: RunResult) -> float | None:
    """Samples per second of training so far; None before the first epoch has ended."""
    return round(run.samples_per_second, 1) if run.epochs else None


def _result(run: RunResult) -> Row:
    """The chosen metric after the last epoch of the run, by name."""
    metric = run.goal.metric
    told = {"metric": metric, "is_share": traits_of_metric(metric).is_share}
    if not run.epochs:
        return told | {"value": None, "train_loss": None}
    last = run.epochs[-1]
    return told | {"value": run.figure(last), "train_loss": last.train_loss}


def _progress(moment: Moment, run: RunResult) -> Row:
    """epoch: that goes on. share: of the run that is done, 0 to 1. left_s: by its pace so far."""
    assert moment.facts is not None
    facts = moment.facts
    done = run.epochs[-1].epoch if run.epochs else 0
    source = moment.stages.get(0)
    if run.kind == "decoupled" and source is not None and facts.epoch_ids:
        share = source.last.counters.work.next_batch_id / (facts.epochs * facts.epoch_ids)
        began_s, epoch = source.first_s, source.last.counters.work.epoch
    else:
        share, began_s, epoch = done / facts.epochs, moment.began_s[-1], done + 1
    share = min(1.0, share)
    if moment.status != "training":
        return {"epoch": done, "share": share, "left_s": None}
    spent_s = moment.at_s - began_s
    left_s = spent_s * (1 - share) / share if share > 0 and spent_s > 1 else None
    return {
        "epoch": min(max(epoch, done), facts.epochs),
        "share": round(share, 4),
        "left_s": None if left_s is None else round(left_s, 1),
    }


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


def _limit(stages: Mapping[int, StageNow]) -> list[str]:
    """The stage that has least time left, if there are several and it works most of its time."""
    if len(stages) < 2:
        return []
    works = {stage: _works(now) for stage, now in stages.items()}
    slowest = max(works, key=lambda stage: works[stage])
    if works[slowest] < LIMITS:
        return []
    return [f"stage {slowest} limits: it works {works[slowest]:.0%} of its time"]


def _works(now: StageNow) -> float:
    paces = [pace for _, pace in now.recent[-8:]]
    seconds = sum(pace.seconds for pace in paces)
    busy = sum((pace.busy + pace.sending) * pace.seconds for pace in paces)
    return min(1.0, busy / seconds) if seconds else 0.0


def _machine(moment: Moment) -> Row:
    assert moment.facts is not None
    return {"cores": moment.facts.cores, "load": moment.facts.load}
