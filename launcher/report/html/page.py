"""A report as one HTML page that needs nothing else: no script, no font, no picture from outside.

Everything that comes out of the report is escaped. The page is also well-formed XML.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dni_async.launcher.report.diagnosis import Diagnosis, diagnose
from dni_async.launcher.report.html.learning import draw_boundaries, draw_learning
from dni_async.launcher.report.html.parts import scrolled, section
from dni_async.launcher.report.html.style import STYLE
from dni_async.launcher.report.html.svg import Bar, Part, draw_bars
from dni_async.launcher.report.html.timeline.drawing import WIDTH, draw_timeline, said_of
from dni_async.launcher.report.html.timeline.excerpt import Excerpt
from dni_async.launcher.report.html.verdict import side_by_side, verdict
from dni_async.launcher.report.html.work import draw_links, draw_phases, draw_stages, draw_times
from dni_async.launcher.report.rows import choice_lines, setting_text, stop_lines
from dni_async.wire.foreign_text import html_of

__all__ = ["build_page"]


def build_page(report: Mapping[str, Any], excerpt: Excerpt | None = None) -> str:
    """The whole page. excerpt: of the run's trace, where it has left one."""
    runs = report["runs"]
    diagnosis = diagnose(report)
    line = next((run for run in runs if run["kind"] == "decoupled" and run["workers"]), None)
    parts = [_header(report), verdict(report)]
    if diagnosis is not None:
        parts.append(_diagnosis(diagnosis))
    parts += [side_by_side(report), draw_learning(runs)]
    if excerpt is not None:
        parts.append(_timeline(excerpt))
    if line is not None:
        parts += [draw_boundaries(line), draw_links(line), draw_times(line)]
        if diagnosis is not None:
            parts += [draw_phases(line), draw_stages(line, diagnosis)]
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
    told = (*choice_lines(report), *stop_lines(report["runs"]))
    lines = "".join(f"<p>{html_of(line)}</p>" for line in (said, *told))
    return f"<header><h1>dni-async: {html_of(data['name'])}</h1>{lines}</header>"


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


def _timeline(excerpt: Excerpt) -> str:
    """A part of the trace, as the picture of a run shows it."""
    height, drawn = draw_timeline(excerpt)
    said = html_of(said_of(excerpt))
    drawing = (
        f'<svg class="timeline" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{said}">'
        f"{drawn}</svg>"
    )
    note = (
        f'<p class="note">{said} Of all parts of the trace of that length in which as many passed '
        "as mostly do, the one that shows most of one batch's way.</p>"
    )
    return section("Timeline", drawing + note)


def _settings(report: Mapping[str, Any]) -> str:
    merged = {**report["config"], **report["environment"]}
    rows = [[html_of(str(key)), html_of(setting_text(value))] for key, value in merged.items()]
    cells = "".join(f'<tr><td>{key}</td><td class="text">{value}</td></tr>' for key, value in rows)
    return (
        "<section><details><summary>Settings and environment</summary>"
        f"{scrolled(f'<table>{cells}</table>')}</details></section>"
    )
