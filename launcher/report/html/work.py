"""Where the time of a run's workers went, and what passed their links, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dni_async.launcher.report.diagnosis import Diagnosis
from dni_async.launcher.report.html.parts import Html, legend, percent, section, table
from dni_async.launcher.report.html.svg import Bar, Part, draw_bars, draw_meter
from dni_async.launcher.report.rows import LINK_COLUMNS, layer_range, link_rows

__all__ = ["draw_links", "draw_phases", "draw_stages", "draw_times"]

TIMES = {
    "busy": "hue-0",
    "sending": "hue-1",
    "waiting for credits": "hue-10",
    "waiting for data": "hue-7",
    "waiting for input": "rest",
}
PHASES = {
    "load": "hue-7",
    "synthesize input": "hue-3",
    "forward": "hue-0",
    "loss": "hue-4",
    "synthesize": "hue-3",
    "backward": "hue-2",
    "carry back": "hue-2",
    "optimize": "hue-9",
    "learn": "hue-5",
    "learn input": "hue-5",
    "save": "hue-6",
    "receive": "hue-10",
    "send": "hue-1",
    "send gradient": "hue-8",
    "send credit": "hue-11",
    "receive gradient": "hue-6",
}


def draw_times(run: Mapping[str, Any]) -> str:
    """Busy, sending, waiting: the shares of every worker's time."""
    bars = [
        Bar(
            f"stage {worker['stage']}",
            [
                Part(TIMES[name], share, f"{name} {share:.1%}")
                for name, share in _shares(worker).items()
            ],
            f"{worker['busy']:.0%} busy",
        )
        for worker in run["workers"]
    ]
    drawn = draw_bars("where the time of each stage went", bars, full=1.0)
    return section("Where the time went", legend(TIMES.items()) + drawn)


def _shares(worker: Mapping[str, Any]) -> dict[str, float]:
    credits = worker.get("waiting_for_credits", 0.0)
    data = worker.get("waiting_for_data", 0.0)
    rest = worker["waiting"] - credits - data
    shares = (worker["busy"], worker["sending"], credits, data, rest)
    return dict(zip(TIMES, shares, strict=True))


def draw_phases(run: Mapping[str, Any]) -> str:
    """What a batch costs at each stage, by kind of span; nothing without a profile."""
    kinds = {kind for worker in run["workers"] for kind in worker["phases"]}
    if not kinds:
        return ""
    hues = {kind: hue for kind, hue in PHASES.items() if kind in kinds}
    hues |= dict.fromkeys(sorted(kinds - hues.keys()), "rest")
    bars = [
        Bar(
            f"stage {worker['stage']}",
            [
                Part(hue, worker["phases"][kind], f"{kind} {worker['phases'][kind] * 1000:.3f} ms")
                for kind, hue in hues.items()
                if kind in worker["phases"]
            ],
            f"{sum(worker['phases'].values()) * 1000:.2f} ms",
        )
        for worker in run["workers"]
    ]
    note = (
        '<p class="note">As the clock ran: where more threads compute than there are cores, '
        "waiting for a core is part of it.</p>"
    )
    drawn = legend(hues.items()) + draw_bars("what a batch costs each stage", bars)
    return section("A batch, stage by stage", drawn + note)


def draw_stages(run: Mapping[str, Any], diagnosis: Diagnosis) -> str:
    """What every stage could do, and what its window, staleness and memory came to."""
    names = ["stage", "layers", "ms/batch", "samples/s", "window filled", "staleness", "p99"]
    names += ["max", "MB sent", "shared", "peak MB", "mostly waits for"]
    rows = []
    for worker, load in zip(run["workers"], diagnosis.line.loads, strict=True):
        occupancy = worker["occupancy"]
        sent = worker["frame_bytes"] + worker["shared_bytes"]
        meter = "" if occupancy is None else draw_meter(occupancy, "window") + percent(occupancy)
        row = [
            str(load.stage),
            layer_range(*worker["layers"]),
            f"{load.batch_seconds * 1000:.2f}",
            f"{diagnosis.line.batch_samples / load.batch_seconds:,.0f}",
            Html(meter),
            str(worker["staleness_median"]),
            str(worker["staleness_p99"]),
            str(worker["max_staleness"]),
            f"{sent / 1e6:,.1f}",
            f"{worker['shared_bytes'] / sent:.0%}" if sent else "",
            f"{worker['peak_rss_bytes'] / 2**20:,.0f}",
            load.waits_for,
        ]
        rows.append(row)
    note = (
        '<p class="note">samples/s: what the stage could do if it never waited. Window filled: '
        "activations in flight at each sending, on average. Staleness: updates between a batch's "
        "forward and the use of its returned gradient, the median first.</p>"
    )
    return section("Stages", table(names, rows) + note)


def draw_links(run: Mapping[str, Any]) -> str:
    """What passed each boundary; nothing where a report does not tell."""
    rows = link_rows(run)
    if not rows:
        return ""
    note = (
        '<p class="note">Of a batch, test batches included. MB/s: while an activation was in '
        "flight. Credit: from sending an activation until its place is free, in ms, the median "
        "and the least.</p>"
    )
    return section("Links", table(LINK_COLUMNS, rows) + note)
