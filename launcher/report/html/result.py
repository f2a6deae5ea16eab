"""A run as a piece of HTML for a notebook: verdict, figures and curves, in the notebook's colours.

No script. Text and lines take the colour of the text around them, so that it reads in light and in
dark whatever makes a notebook so; curves have colours that stand out from both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from dni_async.decisions.goal import LOSS
from dni_async.launcher.report.html.learning import Read, points_of
from dni_async.launcher.report.html.parts import legend, table
from dni_async.launcher.report.html.svg import Series, draw_curves
from dni_async.launcher.report.rows import (
    best_lines,
    chosen_figure,
    figure_text,
    move_lines,
    num_epochs,
    run_table,
    stop_lines,
)
from dni_async.wire.foreign_text import html_of

__all__ = ["draw_notes", "draw_piece", "draw_result"]

MAX_POINTS = 200  # of a curve
_HUES: Final = ("#2a86d1", "#d97a00", "#12967b")  # the run's, and the baselines'

_STYLE: Final = """
.dni-run { max-width: 52rem; font: 13px/1.45 system-ui, -apple-system, "Segoe UI", sans-serif; }
.dni-run p { margin: .25rem 0; }
.dni-run .note { white-space: pre-line; overflow-wrap: anywhere; }
.dni-run summary { cursor: pointer; }
.dni-run .soft, .dni-run th { opacity: .72; }
.dni-run .facts { display: flex; flex-wrap: wrap; gap: .35rem 1.6rem; margin: .4rem 0 .5rem; }
.dni-run .facts b { display: block; font-size: 1.25rem; line-height: 1.3; font-weight: 600; }
.dni-run .scroll { overflow: auto; max-height: 22rem; }
.dni-run table { border-collapse: collapse; margin: .4rem 0; font-size: 12px;
  font-variant-numeric: tabular-nums; background: none; color: inherit; }
.dni-run tr, .dni-run tbody tr:nth-child(odd) { background: none; }
.dni-run th, .dni-run td { padding: .15rem .9rem .15rem 0; text-align: right; white-space: nowrap;
  border: 0; font-weight: 400; background: none; color: inherit; }
.dni-run th:first-child, .dni-run td:first-child { text-align: left; }
.dni-run .charts { display: grid; gap: .6rem 1.5rem; margin-top: .5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)); }
.dni-run .legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .4rem 0 0; padding: 0;
  list-style: none; font-size: 12px; }
.dni-run .legend li { margin: 0; }
.dni-run .legend i { display: inline-block; width: .7rem; height: .7rem; border-radius: 3px;
  margin-right: .35rem; vertical-align: -.06rem; }
.dni-run svg { display: block; width: 100%; height: auto; max-width: 30rem; }
.dni-run svg text { fill: currentColor; font-size: 12px; }
.dni-run svg text.title { font-weight: 600; }
.dni-run svg text.tick { fill-opacity: .72; }
.dni-run svg .grid { stroke: currentColor; stroke-opacity: .2; }
.dni-run svg .curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
.dni-run .bar { height: .5rem; border-radius: .25rem; overflow: hidden; max-width: 30rem;
  background: rgba(128, 128, 128, .3); }
.dni-run .bar i { display: block; height: 100%; background: #2a86d1; }
""" + "".join(
    f".dni-run .hue-{n} {{ fill: {hue}; background: {hue}; }}\n"
    f".dni-run .curve.hue-{n} {{ stroke: {hue}; }}\n"
    for n, hue in enumerate(_HUES)
)


def draw_piece(body: str) -> str:
    """A piece of HTML that stands by itself. body: HTML in the classes of this module's style."""
    return f'<div class="dni-run"><style>{_STYLE}</style>{body}</div>'


def draw_notes(notes: Iterable[str]) -> str:
    """Sentences, each in a line or more of its own."""
    return "".join(f'<p class="note">{html_of(note)}</p>' for note in notes)


def draw_result(report: Mapping[str, Any], notes: Collection[str] = ()) -> str:
    """The run of a report, however it has ended. notes: what was said while it went on."""
    runs = report["runs"]
    parts = [_headline(report)]
    parts += [f"<p>{html_of(sentence)}</p>" for sentence in _sentences(report)]
    if len(runs) > 1:
        facts = ("run", "workers", "threads", "samples/s", "train s")
        parts.append(table(*run_table(report, facts, figures="test ")))
    if any(len(run["epochs"]) > 1 for run in runs):
        is_compared = len(runs) > 1 and bool((report.get("comparison") or {}).get("is_comparable"))
        parts.append(_curves(runs, by_seconds=is_compared))
    if notes:
        said = draw_notes(notes)
        parts.append(f'<details class="soft"><summary>what was said</summary>{said}</details>')
    return draw_piece("".join(parts))


def _headline(report: Mapping[str, Any]) -> str:
    """What it was, and the figures that count, large."""
    if not report["runs"]:
        return f"<p>{html_of(report['data']['name'])}: {html_of(report['status'])}</p>"
    ours = report["runs"][0]
    done, asked = num_epochs(ours), report["config"].get("epochs")
    facts = [
        (chosen_figure(_final(ours)), f"test {ours['metric']}"),
        *([(figure_text(LOSS, _final(ours)["test_loss"]), "test loss")] * (ours["metric"] != LOSS)),
        (f"{ours['samples_per_second']:,.0f}", "samples/s"),
        (f"{ours['train_seconds']:,.2f} s", "of training"),
        (f"{done:,}" if asked in (None, done) else f"{done:,} of {asked:,}", "epochs"),
        (f"{ours['num_workers']}", "workers"),
    ]
    if ours.get("restarts"):
        facts.append((str(len(ours["restarts"])), "replaced"))
    what = f"{report['data']['name']}, rule {ours['rule']}: {report['status']}"
    listed = "".join(
        f'<div><b>{html_of(value)}</b><span class="soft">{html_of(name)}</span></div>'
        for value, name in facts
    )
    return f'<p class="soft">{html_of(what)}</p><div class="facts">{listed}</div>'


def _final(run: Mapping[str, Any]) -> dict[str, Any]:
    """The run with the figures of the network that came back."""
    return {**run, **(run.get("stopped") or {})}


def _sentences(report: Mapping[str, Any]) -> Iterator[str]:
    """Why it ended early, what was kept as the best, the last move of layers, how it compares."""
    yield from stop_lines(report["runs"])
    yield from best_lines(report["runs"])
    for run in report["runs"]:
        yield from move_lines(run)[-1:]
    comparison = report.get("comparison")
    if comparison and comparison.get("baselines"):
        yield comparison["verdict"]


def _curves(runs: Sequence[Mapping[str, Any]], *, by_seconds: bool) -> str:
    """The chosen metric and the training loss."""

    def series(of: Read) -> list[Series]:
        points = [list(points_of(run, of, by_seconds=by_seconds)) for run in runs]
        return [
            Series(run["name"], _hue(index), _thinned(points[index]))
            for index, run in enumerate(runs)
        ]

    metric = runs[0]["metric"]
    figures: list[tuple[str, Read]] = [
        ("training loss", lambda epoch: epoch["train_loss"]),
        ("test loss", lambda epoch: epoch["test_loss"]),
    ]
    if metric != LOSS:
        figures[1] = (f"test {metric}", lambda epoch: epoch["test_metrics"].get(metric))
    charts = [
        draw_curves(
            name,
            series(of),
            x_label="seconds of training" if by_seconds else "epoch",
            show=lambda y: f"{y:.4g}",
        )
        for name, of in reversed(figures)
    ]
    names = "" if len(runs) == 1 else legend((run["name"], _hue(i)) for i, run in enumerate(runs))
    return f'{names}<div class="charts">{"".join(charts)}</div>'


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """So many points that they can be told apart; the last one is among them."""
    every = -(-len(points) // MAX_POINTS)
    return points if every <= 1 else [*points[:-1:every], points[-1]]


def _hue(index: int) -> str:
    return f"hue-{index % len(_HUES)}"
