"""A report as one HTML page that needs nothing else: no script, no font, no picture from outside.

Everything that comes out of the report is escaped. The page is also well-formed XML.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from dni_async.launcher.report.diagnosis import Diagnosis, diagnose
from dni_async.launcher.report.html.learning import draw_boundaries, draw_learning
from dni_async.launcher.report.html.parts import legend, percent, section, table
from dni_async.launcher.report.html.style import STYLE
from dni_async.launcher.report.html.svg import Bar, Part, draw_bars, draw_meter
from dni_async.launcher.report.link_rows import LINK_COLUMNS, link_rows

__all__ = ["build_page"]

TIMES = {
    "busy": "hue-0",
    "sending": "hue-1",
    "waiting for credits": "hue-10",
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


def build_page(report: Mapping[str, Any]) -> str:
    """The whole page."""
    runs = report["runs"]
    diagnosis = diagnose(report)
    line = next((run for run in runs if run["kind"] == "decoupled" and run["workers"]), None)
    parts = [_header(report), _cards(report), _side_by_side(report), draw_learning(runs)]
    if line is not None:
        parts += [draw_boundaries(line), _times(line)]
        if diagnosis is not None:
            parts += [_phases(line), _stages(line, diagnosis)]
        parts.append(_links(line))
    if diagnosis is not None:
        parts.append(_diagnosis(diagnosis))
    parts.append(_settings(report))
    title = escape(f"dni-async: {report['data']['name']}")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8" />'
        '<meta name="viewport" content="width=device-width, initial-scale=1" />'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body>{''.join(parts)}</body></html>\n"
    )


def _header(report: Mapping[str, Any]) -> str:
    data, environment = report["data"], report["environment"]
    said = (
        f"{data['num_train']:,} training and {data['num_test']:,} test samples, "
        f"{data['num_classes']} classes; {environment['cores']} cores, "
        f"{', '.join(environment['devices'])}; {environment['processor']}; {report['status']}"
    )
    return f"<header><h1>dni-async: {escape(data['name'])}</h1><p>{escape(said)}</p></header>"


def _cards(report: Mapping[str, Any]) -> str:
    cards = []
    for run in report["runs"]:
        if run["kind"] == "decoupled":
            cards.append((f"{run['samples_per_second']:,.0f}", f"samples/s of {run['name']}"))
            cards.append((percent(run["test_accuracy"]), "test accuracy"))
    speed = report["speedup"] or {}
    for key, name in (("vs_one_thread", "one thread"), ("vs_all_threads", "all threads")):
        if speed.get(key) is not None:
            tone = "good" if speed[key] >= 1 else "bad"
            text = f"the samples/s of the baseline on {name}"
            cards.append((f'<span class="{tone}">{speed[key]:.2f}\u00d7</span>', text))
    listed = (f"<section><b>{value}</b><p>{escape(text)}</p></section>" for value, text in cards)
    return f'<div class="cards">{"".join(listed)}</div>'


def _side_by_side(report: Mapping[str, Any]) -> str:
    has_target = report["config"].get("target_accuracy") is not None
    names = ["run", "workers", "threads", "samples/s", "train s", "start-up s", "test accuracy"]
    rows = []
    for run in report["runs"]:
        cells = [
            escape(run["name"]),
            str(run["num_workers"]),
            str(run["num_threads"]),
            f"{run['samples_per_second']:,.0f}",
            f"{run['train_seconds']:.2f}",
            f"{run['startup_seconds']:.2f}",
            percent(run["test_accuracy"]),
        ]
        if has_target:
            seconds = run["seconds_to_target"]
            cells.append("not reached" if seconds is None else f"{seconds:.2f}")
        rows.append(cells)
    return section("Side by side", table([*names, "s to target"] if has_target else names, rows))


def _times(run: Mapping[str, Any]) -> str:
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
    shares = (worker["busy"], worker["sending"], credits, worker["waiting"] - credits)
    return dict(zip(TIMES, shares, strict=True))


def _phases(run: Mapping[str, Any]) -> str:
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


def _stages(run: Mapping[str, Any], diagnosis: Diagnosis) -> str:
    names = ["stage", "layers", "ms/batch", "samples/s", "window filled", "staleness", "p99"]
    names += ["max", "MB sent", "shared", "peak MB", "mostly waits for"]
    rows = []
    for worker, load in zip(run["workers"], diagnosis.line.loads, strict=True):
        first, end = worker["layers"]
        occupancy = worker["occupancy"]
        sent = worker["frame_bytes"] + worker["shared_bytes"]
        filled = "" if occupancy is None else draw_meter(occupancy, "window") + percent(occupancy)
        row = [
            str(load.stage),
            str(first) if end == first + 1 else f"{first}-{end - 1}",
            f"{load.batch_seconds * 1000:.2f}",
            f"{diagnosis.line.batch_samples / load.batch_seconds:,.0f}",
            filled,
            str(worker["staleness_median"]),
            str(worker["staleness_p99"]),
            str(worker["max_staleness"]),
            f"{sent / 1e6:,.1f}",
            f"{worker['shared_bytes'] / sent:.0%}" if sent else "",
            f"{worker['peak_rss_bytes'] / 2**20:,.0f}",
            escape(load.waits_for),
        ]
        rows.append(row)
    note = (
        '<p class="note">samples/s: what the stage could do if it never waited. Window filled: '
        "activations in flight at each sending, on average. Staleness: updates between a batch's "
        "forward and the use of its returned gradient, the median first.</p>"
    )
    return section("Stages", table(names, rows) + note)


def _links(run: Mapping[str, Any]) -> str:
    """What passed each boundary; nothing where a report does not tell."""
    rows = [[escape(cell) for cell in row] for row in link_rows(run)]
    if not rows:
        return ""
    note = (
        '<p class="note">Of a batch, test batches included. MB/s: while an activation was in '
        "flight. Credit: from sending an activation until its place is free, in ms, the median "
        "and the least.</p>"
    )
    return section("Links", table(LINK_COLUMNS, rows) + note)


def _diagnosis(diagnosis: Diagnosis) -> str:
    line = diagnosis.line
    said = "".join(f"<li>{escape(text)}</li>" for text in diagnosis.findings)
    advice = "".join(f"<li>{escape(text)}</li>" for text in diagnosis.advice)
    bars = [
        Bar(
            "measured",
            [Part("hue-0", line.samples_per_second, "measured")],
            f"{line.samples_per_second:,.0f} /s",
        ),
        Bar(
            "ceiling",
            [Part("rest", line.ceiling, f"set by: {line.limit}")],
            f"{line.ceiling:,.0f} /s",
        ),
    ]
    drawn = draw_bars("samples per second, measured and possible", bars)
    tips = f'<h2>What to change</h2><ul class="said">{advice}</ul>' if advice else ""
    return section("Diagnosis", f'{drawn}<ul class="said">{said}</ul>{tips}')


def _settings(report: Mapping[str, Any]) -> str:
    merged = {**report["config"], **report["environment"]}
    rows = [[escape(str(key)), escape(_plain(value))] for key, value in merged.items()]
    cells = "".join(f'<tr><td>{key}</td><td class="text">{value}</td></tr>' for key, value in rows)
    return (
        "<section><details><summary>Settings and environment</summary>"
        f"<table>{cells}</table></details></section>"
    )


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return "unset" if value is None else str(value)
