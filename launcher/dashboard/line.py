"""The line of stages as boxes, and the links between them, from what a run tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dni_async.launcher.dashboard.facts import StageFacts
from dni_async.launcher.dashboard.ledger import Moment, StageNow
from dni_async.launcher.dashboard.pace import Pace
from dni_async.launcher.report.results import RestartResult, RunResult
from dni_async.launcher.report.rows import layer_range

__all__ = ["told_line", "told_restarts", "written_line"]

SILENT_S = 3.0  # workers tell of themselves twice a second
Row = dict[str, Any]


def told_line(moment: Moment) -> tuple[list[Row], list[Row]]:
    """The boxes and the links of a run that goes on, as its workers last told."""
    run = next((run for run in moment.runs if run.kind == "decoupled"), None)
    if moment.facts is None:
        return [], []
    restarts = [] if run is None else list(run.restarts)
    agreed = {} if run is None else _last_agreement(run)
    is_over = moment.status != "training" or moment.runs[-1].kind == "baseline"
    boxes = []
    for each in moment.facts.stages:
        own = [restart for restart in restarts if restart.stage == each.stage]
        if run is not None and run.moves:
            each = replace(each, layers=layer_range(*run.layers[each.stage]))
        box = _box(each, moment.stages.get(each.stage), own, moment.at_s, is_over=is_over)
        boxes.append(box | {"cosine": agreed.get(each.stage, {}).get("cosine")})
    links = [
        _link(each.stage, moment.stages.get(each.stage), is_over=is_over)
        | agreed.get(each.stage, {})
        for each in moment.facts.stages[:-1]
    ]
    return boxes, links


def told_restarts(run: RunResult) -> list[Row]:
    """Every worker that was replaced, in order; seconds: until its stage trained again."""
    return [
        {
            "stage": each.stage,
            "cause": each.cause,
            "at_seconds": round(each.at_seconds, 3),
            "seconds": None if each.seconds is None else round(each.seconds, 3),
        }
        for each in list(run.restarts)
    ]


def _box(
    facts: StageFacts,
    now: StageNow | None,
    restarts: Sequence[RestartResult],
    at_s: float,
    *,
    is_over: bool,
) -> Row:
    """One stage. state: the word that it is coloured and labelled by."""
    box: Row = {"stage": facts.stage, "layers": facts.layers, "device": facts.device}
    box["restarts"] = len(restarts)
    is_down = any(each.seconds is None for each in restarts)
    if now is None:
        return box | {"state": "down" if is_down else "starting"}
    told = now.last.counters
    box |= {
        "batch": told.work.next_batch_id - 1 if told.work.next_batch_id else None,
        "version": told.work.updates,
        "staleness": told.staleness.staleness_median,
        "staleness_max": told.staleness.max_staleness,
        "memory_mb": round(told.memory.rss_bytes / 2**20, 1),
        "heard_s": round(at_s - now.at_s, 1),
    }
    pace = now.recent[-1][1] if now.recent else None
    if is_over:
        times, total_s = told.times, max(told.times.total_s, 1e-9)
        spent = (times.busy_s, times.waiting_s, times.sending_s, times.credit_waiting_s)
        box |= _shares(*(seconds / total_s for seconds in spent))
    elif pace is not None:
        box |= _shares(pace.busy, pace.waiting, pace.sending, pace.held)
        box["updates_per_second"] = round(pace.updates, 1)
    return box | {"state": _state(is_down, is_over, at_s - now.at_s, pace)}


def _state(is_down: bool, is_over: bool, heard_s: float, pace: Pace | None) -> str:
    if is_over:
        return "done"
    if is_down:
        return "down"
    if heard_s > SILENT_S:
        return "silent"
    if pace is None:
        return "starting"
    return max(("busy", "waiting", "sending"), key=lambda name: float(getattr(pace, name)))


def _shares(busy: float, waiting: float, sending: float, held: float) -> Row:
    """Shares of the time; held: of the waiting, that for a place in a full window."""
    shares = {"busy": busy, "waiting": waiting, "sending": sending, "held": held}
    return {name: round(min(1.0, value), 4) for name, value in shares.items()}


def _link(boundary: int, now: StageNow | None, *, is_over: bool) -> Row:
    """The link above a stage, as its lower end told; slots taken are a mean once all is over."""
    if now is None:
        return {"boundary": boundary}
    link = now.last.counters.link
    occupancy = now.last.counters.window.occupancy
    row: Row = {
        "boundary": boundary,
        "window": link.window,
        "in_flight": round(max(0.0, occupancy) * link.window, 2) if is_over else link.in_flight,
        "carrier": link.carrier,
        "credit_ms": round(link.credit_s * 1000, 3) if link.credit_s >= 0 else None,
    }
    if now.recent and not is_over:
        pace = now.recent[-1][1]
        row["activations_per_second"] = round(pace.activations, 1)
        row["up_bytes_per_second"] = round(pace.up_bytes)
        row["down_bytes_per_second"] = round(pace.down_bytes)
    return row


def _last_agreement(run: RunResult) -> dict[int, Row]:
    """By boundary: what it last told of synthetic and returned gradients."""
    return {
        each.stage: _agreement(each.cosine, each.norm_ratio, each.relative_error)
        for each in list(run.boundaries)
    }


def _agreement(cosine: float, norm_ratio: float, relative_error: float) -> Row:
    return {
        "cosine": round(cosine, 4),
        "norm_ratio": round(norm_ratio, 4),
        "relative_error": round(relative_error, 4),
    }


def written_line(run: Mapping[str, Any]) -> tuple[list[Row], list[Row]]:
    """The boxes and the links of a decoupled run of a report: means over the whole run."""
    agreed = {
        each["stage"]: _agreement(*(each["epochs"][-1][key] for key in _AGREEMENT))
        for each in run.get("boundaries", [])
        if each["epochs"]
    }
    again = [each["stage"] for each in run.get("restarts", [])]
    boxes = [
        _written_box(worker, again) | {"cosine": agreed.get(worker["stage"], {}).get("cosine")}
        for worker in run["workers"]
    ]
    occupancy = {worker["stage"]: worker.get("occupancy") for worker in run["workers"]}
    links = [
        _written_link(link, occupancy.get(link["boundary"])) | agreed.get(link["boundary"], {})
        for link in run.get("links", [])
    ]
    return boxes, links


_AGREEMENT = ("cosine", "norm_ratio", "relative_error")


def _written_box(worker: Mapping[str, Any], replaced: Iterable[int]) -> Row:
    held = worker.get("waiting_for_credits", 0.0)
    return {
        "stage": worker["stage"],
        "layers": layer_range(*worker["layers"]),
        "device": worker["device"],
        "restarts": list(replaced).count(worker["stage"]),
        "state": "done",
        "version": worker["updates"],
        "staleness": worker.get("staleness_median"),
        "staleness_max": worker["max_staleness"],
        "memory_mb": round(worker["rss_bytes"] / 2**20, 1),
        **_shares(worker["busy"], worker["waiting"], worker["sending"], held),
    }


def _written_link(link: Mapping[str, Any], occupancy: float | None) -> Row:
    median = link["credit_median_seconds"]
    return {
        "boundary": link["boundary"],
        "window": link["window"],
        "in_flight": None if occupancy is None else round(occupancy * link["window"], 2),
        "carrier": link["carrier"],
        "credit_ms": None if median is None else round(median * 1000, 3),
        "up_bytes_per_second": link["up_bytes_per_second"],
    }
