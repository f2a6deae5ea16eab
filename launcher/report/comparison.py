"""The decoupled run against the baselines: ratios, figures, and whether they may be compared.

All that shows a ratio reads it from here. Runs and the machine are as report.json has them, those
of a run that goes on too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from dni_async.config.metric_names import traits_of_metric
from dni_async.decisions.goal import Goal, Outlook
from dni_async.launcher.report.rows import chosen_metric, figure_text, metrics_of

__all__ = [
    "ALL_THREADS",
    "BUSY",
    "NOT_COMPARABLE",
    "ONE_THREAD",
    "SPEEDUPS",
    "TAKEN",
    "compare",
    "comparison_of",
    "disturbed",
    "lines",
    "outlook_of",
    "seconds_to",
    "spoken",
]

BUSY: Final = 0.5  # of the cores, wanted by others before a run; where nothing tells of its time
TAKEN: Final = 0.1  # of the cores, taken by others while a network was trained (0103)
NOT_COMPARABLE: Final = "not comparable"
ONE_THREAD, ALL_THREADS = "baseline-1-thread", "baseline-all-threads"
SPEEDUPS: Final = {
    ONE_THREAD: ("vs_one_thread",),
    ALL_THREADS: ("vs_all_threads", "time_to_target_vs_all_threads"),
}
"""The figures of a report's speedup that rest on each baseline."""

_SPOKEN: Final = {
    ONE_THREAD: "the baseline on one thread",
    ALL_THREADS: "the baseline on all threads",
}

Run = Mapping[str, Any]


def compare(runs: Sequence[Run], machine: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison of a report. machine: its cores, and the load before the run.

    is_comparable: every baseline that has been trained has a ratio. why_not: else why, in a clause.
    verdict: all of it in a sentence. baselines: by name, those that have been trained as far as a
    test; ratio: samples per second over theirs, None where they may not be compared. figure: the
    metric of both after the last epoch after which both were tested, else in the end. equal:
    training seconds until each had first reached the level, which is the worse of their best
    figures; None where they may not be compared, or were not tested.
    """
    ours = next((run for run in runs if run["kind"] == "decoupled" and _is_trained(run)), None)
    theirs = [run for run in runs if run["kind"] == "baseline" and _is_trained(run)]
    baselines = {} if ours is None else {run["name"]: _pair(ours, run, machine) for run in theirs}
    why_not = next((each["why_not"] for each in baselines.values() if each["why_not"]), None)
    if not baselines:
        why_not = "no baseline has been trained" if ours else "nothing has been trained"
    told = {"is_comparable": why_not is None, "why_not": why_not, "baselines": baselines}
    return {**told, "verdict": _verdict(told)}


def comparison_of(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """That of a report; made anew for one from before there was any."""
    told: Mapping[str, Any] | None = report.get("comparison")
    return compare(report["runs"], report["environment"]) if told is None else told


def lines(comparison: Mapping[str, Any]) -> list[str]:
    """A line for each baseline: no ratio stands without what belongs to it, or where none may."""
    baselines = comparison["baselines"]
    reasons = {told["why_not"] for told in baselines.values()}
    if len(baselines) > 1 and len(reasons) == 1 and None not in reasons:
        return [f"{NOT_COMPARABLE} with the baselines: {reasons.pop()}"]
    return [_line(name, told) for name, told in baselines.items()]


def disturbed(run: Run, machine: Mapping[str, Any]) -> str | None:
    """Why the speed of a run says nothing, in a clause; None where it does.

    What others did while it trained counts, if the system told; else what they did before.
    """
    cores, others = machine["cores"], run.get("others_cores")
    if others is not None:
        if others < TAKEN * cores:
            return None
        return (
            f"while {run['name']} trained, other programs kept {others:.1f} of {_cores(cores)} busy"
        )
    load = machine.get("load", 0.0)
    if load < BUSY * cores:
        return None
    return f"before the run {load:.1f} processes wanted {_cores(cores)}"


def outlook_of(run: Run, goal: Goal | None = None) -> Outlook:
    """The best figure of a run, and after which epoch; by its own metric, or that of a goal."""
    outlook = Outlook(_goal(run) if goal is None else goal)
    for epoch, _, figure in _tests(run, outlook.goal):
        outlook.hear(epoch, figure)
    return outlook


def seconds_to(run: Run, level: float, goal: Goal | None = None) -> float | None:
    """Training seconds up to the first test that is as good as level; None where none is."""
    goal = replace(_goal(run) if goal is None else goal, target=level)
    for _, seconds, figure in _tests(run, goal):
        if figure is not None and goal.is_reached(figure):
            return seconds
    return None


def spoken(name: str) -> str:
    """A baseline, as people call it."""
    return _SPOKEN.get(name, name)


def _is_trained(run: Run) -> bool:
    return bool(run["epochs"] and run["samples_per_second"])


def _pair(ours: Run, theirs: Run, machine: Mapping[str, Any]) -> dict[str, Any]:
    why_not = disturbed(ours, machine) or disturbed(theirs, machine)
    ratio = round(ours["samples_per_second"] / theirs["samples_per_second"], 3)
    return {
        "ratio": None if why_not else ratio,
        "why_not": why_not,
        "figure": _figure(ours, theirs),
        "equal": None if why_not else _equal(ours, theirs),
    }


def _cores(count: int) -> str:
    return f"{count} core{'' if count == 1 else 's'}"


def _figure(ours: Run, theirs: Run) -> dict[str, Any]:
    """The chosen metric of both, after the same epoch if there is one; epoch 0: there is none."""
    metric = ours["metric"]
    later = {epoch["epoch"]: metrics_of(epoch).get(metric) for epoch in theirs["epochs"]}
    for epoch in reversed(ours["epochs"]):
        mine, other = metrics_of(epoch).get(metric), later.get(epoch["epoch"])
        if mine is not None and other is not None:
            return {"metric": metric, "ours": mine, "theirs": other, "epoch": epoch["epoch"]}
    mine, other = (metrics_of(run["epochs"][-1]).get(metric) for run in (ours, theirs))
    return {"metric": metric, "ours": mine, "theirs": other, "epoch": 0}


def _equal(ours: Run, theirs: Run) -> dict[str, float] | None:
    goal = outlook_of(ours).goal
    mine, other = (outlook_of(run, goal).best for run in (ours, theirs))
    if mine is None or other is None:
        return None
    level = other if goal.is_better(mine, other) else mine
    ours_s, theirs_s = (seconds_to(run, level, goal) for run in (ours, theirs))
    if not ours_s or not theirs_s:
        return None
    told = {"level": level, "ours_s": round(ours_s, 4), "theirs_s": round(theirs_s, 4)}
    return {**told, "ratio": round(theirs_s / ours_s, 3)}


def _goal(run: Run) -> Goal:
    metric, mode = chosen_metric([run]), run.get("mode")
    return Goal(metric, mode if mode in ("max", "min") else traits_of_metric(metric).mode)


def _tests(run: Run, goal: Goal) -> Iterator[tuple[int, float, float | None]]:
    """Of each epoch its number, the training seconds to its end, and its figure.

    Where test samples were lost with a worker, a handful may be right by chance: no figure.
    """
    seconds = 0.0
    whole = max((epoch.get("num_tested") or 0 for epoch in run["epochs"]), default=0)
    for epoch in run["epochs"]:
        seconds += epoch["seconds"]
        is_whole = epoch.get("num_tested") in (None, whole)
        yield epoch["epoch"], seconds, metrics_of(epoch).get(goal.metric) if is_whole else None


def _line(name: str, told: Mapping[str, Any]) -> str:
    if told["ratio"] is None:
        return f"{NOT_COMPARABLE} with {spoken(name)}: {told['why_not']}"
    return f"{_ratio(name, told)}{_figures(told)}{_seconds(told)}"


def _ratio(name: str, told: Mapping[str, Any]) -> str:
    ratio = told["ratio"]
    word = "faster" if ratio >= 1 else "SLOWER"
    return f"{ratio:.2f}x the samples/s of {spoken(name)} ({word})"


def _figures(told: Mapping[str, Any]) -> str:
    figure = told["figure"]
    metric, mine, other = figure["metric"], figure["ours"], figure["theirs"]
    if mine is None or other is None:
        return ""
    after = f" after epoch {figure['epoch']}" if figure["epoch"] else ""
    return f"; {metric} {figure_text(metric, mine)} against {figure_text(metric, other)}{after}"


def _seconds(told: Mapping[str, Any]) -> str:
    """The seconds to the same figure, in words."""
    equal = told["equal"]
    if equal is None:
        return ""
    level = figure_text(told["figure"]["metric"], equal["level"])
    word = {1: " (sooner)", 0: "", -1: " (LATER)"}[(equal["ratio"] > 1) - (equal["ratio"] < 1)]
    return (
        f"; {level} in {equal['ours_s']:.2f} s against {equal['theirs_s']:.2f} s of training{word}"
    )


def _verdict(told: Mapping[str, Any]) -> str:
    """One sentence; it is of the strongest baseline that figures and seconds are told."""
    baselines = told["baselines"]
    if not baselines:
        return str(told["why_not"])
    compared = {name: each for name, each in baselines.items() if each["ratio"] is not None}
    if not compared:
        return f"{NOT_COMPARABLE}: {told['why_not']}"
    name, strongest = min(compared.items(), key=lambda each: each[1]["ratio"])
    others = [_ratio(*each) for each in compared.items() if each[0] != name]
    said = " and ".join([*others, _ratio(name, strongest)])
    left_out = [_line(*each) for each in baselines.items() if each[0] not in compared]
    return "; ".join([f"{said}{_figures(strongest)}{_seconds(strongest)}", *left_out])
