"""What the demo says of what was seen; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dni_async.launcher.commands.demonstration.sizing import LAYER_WIDTH, Machine
from dni_async.launcher.report.comparison import spoken
from dni_async.launcher.report.diagnosis import diagnose
from dni_async.launcher.report.results import RestartResult
from dni_async.launcher.report.rows import chosen_figure, figure_text

__all__ = ["introduction", "next_commands", "of_killing", "seen", "why_slow"]


def introduction(machine: Machine, settings: Mapping[str, Any], asked: Sequence[str]) -> str:
    """What is trained, and what it was sized by. asked: the settings that are the user's own."""
    cores = f"{machine.cores} core{'' if machine.cores == 1 else 's'}"
    text = (
        f"{settings['layers']} layers of {settings['width']:,} units, {settings['epochs']} epochs; "
        f"sized for {cores}, of which one trains a layer of {LAYER_WIDTH:,} units on a batch in "
        f"{machine.layer_s * 1000:.0f} ms"
    )
    return f"{text}; as asked: {', '.join(asked)}" if asked else text


def seen(report: Mapping[str, Any]) -> str:
    """One sentence on the first act; another on why it was slow, where it was."""
    run = next(run for run in report["runs"] if run["kind"] == "decoupled")
    at_once = "in turns" if run.get("is_lockstep") else "at the same time"
    what = f"Seen: {run['num_workers']} processes trained one network {at_once}"
    comparison = report["comparison"]
    if not comparison["baselines"]:
        return f"{what}; without a baseline nothing says whether that is fast."
    if not comparison["is_comparable"]:
        return (
            f"{what}{_came_to(comparison)}; beside so much other work nothing can be said of speed."
        )
    slower = _named(comparison, lambda told: told["ratio"] < 1)
    if slower:
        return f"{what}, SLOWER on this machine than {slower}. {why_slow(report)}"
    later = _named(comparison, lambda told: told["equal"] and told["equal"]["ratio"] < 1)
    if later:
        return (
            f"{what}, and more samples a second passed it than {later}, but it needed more of "
            "them to come as far: LATER."
        )
    end = "came as far sooner than" if _has_equal(comparison) else "did more samples a second than"
    return (
        f"{what}; none waited for a gradient from above, and together they {end} plain "
        "backpropagation in one process."
    )


def why_slow(report: Mapping[str, Any]) -> str:
    """Why a run was slow, by its diagnosis, and what may help."""
    diagnosis = diagnose(report)
    if diagnosis is None:
        return "Its report tells too little to say why."
    if diagnosis.line.cores == 1:
        return "One core does the work of all processes by turns."
    advice = f" {diagnosis.advice[0]}" if diagnosis.advice else ""
    return f"{diagnosis.findings[-1]}{advice}"


def of_killing(
    killed: tuple[int, int] | None, restart: RestartResult | None, run: Mapping[str, Any]
) -> str:
    """What became of the worker that was killed, and of its run."""
    if killed is None:
        return "The run was over before a worker could be killed."
    stage, pid = killed
    start = f"Seen: kill -9 took the worker of stage {stage} (pid {pid}) in the middle of the run"
    if restart is None:
        return f"{start}, which was over before it was missed."
    if restart.seconds is None:
        return f"{start}, which was over before another one was at work."
    others = "Nobody else was restarted"
    if len(run["restarts"]) > 1:
        others = f"{len(run['restarts'])} workers were replaced in all"
    seconds = restart.to_dict()["seconds"]  # rounded once more, it is the same as of report.json
    return (
        f"{start}, and {seconds:.2f} s later a new process made the next update of that "
        f"stage. {others}, and the run came to {run['metric']} {chosen_figure(run)}."
    )


def next_commands(run_dir: Path, *, bin_dir: str, has_examples: bool) -> list[tuple[str, str]]:
    """Commands to go on with, and what each is for.

    bin_dir: what must stand before their names, with its slash; empty where they are found.
    """
    if has_examples:
        own = (f"{bin_dir}python examples/own_data.py", "data and a network of your own")
    else:
        own = (f"{bin_dir}dni-launch --model mynet:make --data own.npz", "your own")
    return [
        own,
        (f"{bin_dir}dni-launch --layers 4 --dashboard", "a run in the browser, while it lasts"),
        (f"{bin_dir}dni-report {run_dir}", "where the time of this one went"),
    ]


def _came_to(comparison: Mapping[str, Any]) -> str:
    """What they learnt, beside the last baseline."""
    figure = list(comparison["baselines"].values())[-1]["figure"]
    metric, ours, theirs = figure["metric"], figure["ours"], figure["theirs"]
    if ours is None or theirs is None:
        return ""
    return (
        f", to {metric} {figure_text(metric, ours)} where plain backpropagation came to "
        f"{figure_text(metric, theirs)}"
    )


def _named(comparison: Mapping[str, Any], applies: Callable[[Any], Any]) -> str:
    """The baselines of which that is true, as people call them."""
    names = [spoken(name) for name, told in comparison["baselines"].items() if applies(told)]
    return " and ".join(names)


def _has_equal(comparison: Mapping[str, Any]) -> bool:
    return all(told["equal"] is not None for told in comparison["baselines"].values())
