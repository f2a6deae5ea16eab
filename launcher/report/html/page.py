"""A report as one HTML page that needs nothing else: no script, no font, no picture from outside.

Everything that comes out of the report is escaped. The page is also well-formed XML.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dni_async.decisions.goal import LOSS
from dni_async.launcher.report.comparison import comparison_of, lines, spoken
from dni_async.launcher.report.diagnosis import Diagnosis, diagnose
from dni_async.launcher.report.foreign_text import html_of
from dni_async.launcher.report.html.learning import draw_boundaries, draw_learning
from dni_async.launcher.report.html.parts import section, table
from dni_async.launcher.report.html.style import STYLE
from dni_async.launcher.report.html.svg import Bar, Part, draw_bars
from dni_async.launcher.report.html.work import draw_links, draw_phases, draw_stages, draw_times
from dni_async.launcher.report.rows import (
    chosen_figure,
    figure_text,
    has_unshown,
    metric_rows,
)

__all__ = ["build_page"]


def build_page(report: Mapping[str, Any]) -> str:
    """The whole page."""
    runs = report["runs"]
    diagnosis = diagnose(report)
    line = next((run for run in runs if run["kind"] == "decoupled" and run["workers"]), None)
    parts = [_header(report), _cards(report)]
    if diagnosis is not None:
        parts.append(_diagnosis(diagnosis))
    parts += [_side_by_side(report), draw_learning(runs)]
    if line is not None:
        parts += [draw_boundaries(line), draw_times(line)]
        if diagnosis is not None:
            parts += [draw_phases(line), draw_stages(line, diagnosis)]
        parts.append(draw_links(line))
    parts.append(_settings(report))
    title = html_of(f"dni-async: {report['data']['name']}")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8" />'
        '<meta name="viewport" content="width=device-width, initial-scale=1" />'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body>{''.join(parts)}</body></html>\n"
    )


def _targets(report: Mapping[str, Any]) -> str:
    """What the data have for targets."""
    num_classes = report["data"]["num_classes"]
    return f"{num_classes} classes" if num_classes else f"loss {report['config'].get('loss')}"


def _amount(data: Mapping[str, Any], key: str, part: str) -> str:
    """How many samples a part of the data has."""
    if data[key] is None:
        return f"{part} batches as they come"
    return f"{data[key]:,} {part} samples"


def _header(report: Mapping[str, Any]) -> str:
    data, environment = report["data"], report["environment"]
    said = (
        f"{_amount(data, 'num_train', 'training')}, {_amount(data, 'num_test', 'test')}, "
        f"{_targets(report)}; {environment['cores']} cores, "
        f"{', '.join(environment['devices'])}; {environment['processor']}; {report['status']}"
    )
    return f"<header><h1>dni-async: {html_of(data['name'])}</h1><p>{html_of(said)}</p></header>"


def _cards(report: Mapping[str, Any]) -> str:
    cards = []
    for run in report["runs"]:
        if run["kind"] == "decoupled":
            cards.append((f"{run['samples_per_second']:,.0f}", f"samples/s of {run['name']}"))
            cards.append((html_of(chosen_figure(run)), f"test {run['metric']}"))
    comparison = comparison_of(report)
    for name, told in comparison["baselines"].items():
        ratio, text = told["ratio"], f"the samples/s of {spoken(name)}"
        if ratio is None:
            cards.append(('<span class="soft">not comparable</span>', f"{text}: {told['why_not']}"))
        else:
            tone = "good" if ratio >= 1 else "bad"
            cards.append((f'<span class="{tone}">{ratio:.2f}\u00d7</span>', text))
    listed = (f"<section><b>{value}</b><p>{html_of(text)}</p></section>" for value, text in cards)
    return f'<div class="cards">{"".join(listed)}</div>'


def _side_by_side(report: Mapping[str, Any]) -> str:
    has_target = report["config"].get("target") is not None
    names = ["run", "workers", "threads", "samples/s", "train s", "start-up s"]
    metric = next((run["metric"] for run in report["runs"]), LOSS)
    names += ["test loss"] if metric == LOSS else [f"test {metric}", "test loss"]
    rows = []
    for run in report["runs"]:
        cells = [
            run["name"],
            str(run["num_workers"]),
            str(run["num_threads"]),
            f"{run['samples_per_second']:,.0f}",
            f"{run['train_seconds']:.2f}",
            f"{run['startup_seconds']:.2f}",
            *([] if metric == LOSS else [chosen_figure(run)]),
            figure_text(LOSS, run["test_loss"]),
        ]
        if has_target:
            seconds = run["seconds_to_target"]
            cells.append("not reached" if seconds is None else f"{seconds:.2f}")
        rows.append(cells)
    body = table([*names, "s to target"] if has_target else names, rows)
    if has_unshown(report["runs"]):
        heads = ["metric", *(run["name"] for run in report["runs"])]
        body += table(heads, metric_rows(report["runs"]))
    said = "".join(f"<li>{html_of(line)}</li>" for line in lines(comparison_of(report)))
    return section("Side by side", f'{body}<ul class="said">{said}</ul>' if said else body)


def _diagnosis(diagnosis: Diagnosis) -> str:
    line = diagnosis.line
    said = "".join(f"<li>{html_of(text)}</li>" for text in diagnosis.findings)
    advice = "".join(f"<li>{html_of(text)}</li>" for text in diagnosis.advice)
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
    rows = [[html_of(str(key)), html_of(_plain(value))] for key, value in merged.items()]
    cells = "".join(f'<tr><td>{key}</td><td class="text">{value}</td></tr>' for key, value in rows)
    return (
        "<section><details><summary>Settings and environment</summary>"
        f"<table>{cells}</table></details></section>"
    )


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return "unset" if value is None else str(value)
