"""Say in sentences what bounds a decoupled run and what to change; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dni_async.launcher.report.advice import MUCH, Case, advise, ms
from dni_async.launcher.report.ceiling import Line, measure_line
from dni_async.launcher.report.comparison import comparison_of

__all__ = ["Diagnosis", "diagnose"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """findings: what bounds the run, the bottleneck first; advice: what to change."""

    line: Line
    findings: tuple[str, ...]
    advice: tuple[str, ...]


def diagnose(report: Mapping[str, Any]) -> Diagnosis | None:
    """The diagnosis of a report's decoupled run; None if it tells too little for one."""
    line = measure_line(report)
    if line is None:
        return None
    compared = comparison_of(report)["baselines"]
    rates = [
        run["samples_per_second"]
        for run in report["runs"]
        if run["name"] in compared and compared[run["name"]]["ratio"] is not None
    ]
    run = next(run for run in report["runs"] if run["kind"] == "decoupled")
    links = {link["boundary"]: link for link in run.get("links", [])}
    is_drained = not any(epoch.get("test_seconds") for epoch in run.get("epochs", []))
    case = Case(line, report["config"], max(rates, default=0.0), links, is_drained)
    advice = advise(case) if line.samples_per_second else ()
    return Diagnosis(line, tuple(_findings(line)), advice)


def _findings(line: Line) -> list[str]:
    slowest, source = line.slowest, line.loads[0]
    is_starved = source.starved >= MUCH
    text = (
        f"Stage {slowest.stage} is the {'slowest' if is_starved else 'bottleneck'}: it works "
        f"{ms(slowest.batch_seconds)} on a batch, the mean stage {ms(line.mean_batch_seconds)}"
    )
    if is_starved:
        text = (
            f"The data loader is the bottleneck: stage {source.stage} waits {source.starved:.0%} "
            f"of the time for its next batch. {text}"
        )
    if slowest.phases:
        total = sum(slowest.phases.values())
        largest = sorted(slowest.phases.items(), key=lambda item: -item[1])[:3]
        text += f" ({', '.join(f'{kind} {seconds / total:.0%}' for kind, seconds in largest)})"
    if not line.samples_per_second:
        return [f"{text}."]
    cause = {
        "stage": f"stage {slowest.stage} sets",
        "cores": f"{line.cores} {'core sets' if line.cores == 1 else 'cores set'}",
        "lockstep": "one batch at a time sets",
    }[line.limit]
    reached = (
        f"{line.samples_per_second:,.0f} samples/s measured, {line.share:.0%} of the ceiling of "
        f"{line.ceiling:,.0f} that {cause}."
    )
    return [f"{text}.", reached]
