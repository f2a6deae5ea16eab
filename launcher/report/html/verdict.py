"""What came of a run, first in a sentence, then against its baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dni_async.launcher.report.comparison import comparison_of, lines, spoken
from dni_async.launcher.report.html.parts import section, table
from dni_async.launcher.report.rows import (
    best_lines,
    chosen_figure,
    figure_text,
    has_unshown,
    metric_rows,
    run_table,
)
from dni_async.wire.foreign_text import html_of

__all__ = ["side_by_side", "verdict"]

Report = Mapping[str, Any]


def verdict(report: Report) -> str:
    """The sentence that sums the run up, and its few figures as cards."""
    said = comparison_of(report)["verdict"]
    cards = "".join(
        f"<section><b>{figure}</b><p>{html_of(text)}</p></section>"
        for figure, text in (*_own_figures(report), *_ratios(report))
    )
    sentence = f'<p class="said">{html_of(said[:1].upper() + said[1:])}.</p>'
    return f'<section class="verdict">{sentence}</section><div class="cards">{cards}</div>'


def _own_figures(report: Report) -> Iterator[tuple[str, str]]:
    for run in report["runs"]:
        if run["kind"] == "decoupled":
            yield f"{run['samples_per_second']:,.0f}", f"samples/s of {run['name']}"
            yield html_of(chosen_figure(run)), f"test {run['metric']}"


def _ratios(report: Report) -> Iterator[tuple[str, str]]:
    """No ratio stands without the metric of both; why there is none is said by the verdict."""
    for name, told in comparison_of(report)["baselines"].items():
        ratio, text = told["ratio"], f"the samples/s of {spoken(name)}"
        if ratio is None:
            continue
        figure = told["figure"]
        values = [figure_text(figure["metric"], figure[key]) for key in ("ours", "theirs")]
        tone = "good" if ratio >= 1 else "bad"
        yield (
            f'<span class="{tone}">{ratio:.2f}\u00d7</span>',
            f"{text}; {figure['metric']} {values[0]} against {values[1]}",
        )


def side_by_side(report: Report) -> str:
    """All runs in a table, each baseline in a line, and which network was kept as the best."""
    facts = ("run", "workers", "threads", "samples/s", "train s", "start-up s")
    body = table(*run_table(report, facts, figures="test "))
    if has_unshown(report["runs"]):
        heads = ["metric", *(run["name"] for run in report["runs"])]
        body += table(heads, metric_rows(report["runs"]))
    told = (*lines(comparison_of(report)), *best_lines(report["runs"]))
    said = "".join(f"<li>{html_of(line)}</li>" for line in told)
    return section("Side by side", f'{body}<ul class="said">{said}</ul>' if said else body)
