"""Write the tables of docs/results.md from what is kept in benchmarks/results/.

``python -m benchmarks.harness.results_page`` replaces what stands between the markers of speed, of
learning, of deep networks and of cores; ``--check`` only says whether all are up to date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import click

__all__ = ["cores_section", "deep_section", "learning_section", "main", "speed_section"]

ROOT = Path(__file__).resolve().parents[2]
DEEP_COLUMNS = """\
| network | arm | epochs | seeds | rate | error % | loss | behind | target | cosine | work |
|---|---|---|---|---|---|---|---|---|---|---|"""


def speed_section(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """The tables of all results, by file name: every cell and arm, losses included."""
    parts = []
    for name, document in sorted(documents.items()):
        machine = document["machine"]
        parts.append(
            f"`benchmarks/results/{name}`: {machine['processor']}, {machine['cores']} cores, "
            f"torch {machine['torch']}, {machine['date'][:10]}; medians of "
            f"{document['settings']['repeats']} rounds with their range. "
            f"{machine['steal_share']:.1%} of the cores' time was stolen by other machines."
        )
        for cell in document["cells"]:
            parts.append(_race(cell) if "target" in cell else _cell(cell))
    return "\n\n".join(parts)


def _race(cell: Mapping[str, Any]) -> str:
    """Seconds to an accuracy; a seed that did not reach it is counted, not left out."""
    target = cell["target"]
    epochs = len(next(iter(cell["arms"].values()))["epochs"][0])
    title = (
        f"{_network(cell['config'])}, training seconds to {target:.1%} of the MNIST test images, "
        f"a seed per round, {epochs} epochs:"
    )
    lines = [
        title,
        "",
        "| arm | threads | seconds | reached by | accuracy in the end | dni is |",
        "|---|---|---|---|---|---|",
    ]
    for name, arm in cell["arms"].items():
        seconds, accuracy = arm["seconds_to_target"], arm["test_accuracy"]
        values = [value for value in seconds["values"] if value is not None]
        took = f"{seconds['median']:.1f}" if seconds["median"] is not None else "not reached"
        if values:
            took += f" ({min(values):.1f} to {max(values):.1f})"
        reached = f"{len(values)} of {len(seconds['values'])}"
        last = f"{accuracy['median']:.2%} ({accuracy['min']:.2%} to {accuracy['max']:.2%})"
        speedup = arm["speedup_of_dni"]
        said = "" if name == "dni" else _verdict(speedup)
        lines.append(f"| {name} | {arm['threads']} | {took} | {reached} | {last} | {said} |")
    return "\n".join(lines)


def _network(config: Mapping[str, Any]) -> str:
    return (
        f"{config['layers']} layers, width {config['width']}, batch {config['batch_size']}, "
        f"{config['dtype']}{_said(config)}"
    )


def _said(config: Mapping[str, Any]) -> str:
    """What is not as it is without being asked for; older results lack what came later."""
    said = ""
    if config.get("stages") is not None:
        said += f", `--stages {config['stages']}`"
    if config.get("lr_schedule", "constant") != "constant":
        said += f", {config['lr_schedule']} learning rate in every arm"
    return said


def _verdict(speedup: Mapping[str, Any] | None) -> str:
    """Of a target that was missed, or a machine that was not quiet, there is no ratio."""
    if speedup is None:
        return "not comparable"
    word = "faster" if speedup["median"] >= 1 else "SLOWER"
    return f"{speedup['median']:.2f}x ({speedup['min']:.2f} to {speedup['max']:.2f}) {word}"


def _cell(cell: Mapping[str, Any]) -> str:
    lines = [
        f"{_network(cell['config'])}, {cell['num_train']:,} MNIST samples per epoch:",
        "",
        "| arm | processes | threads | samples/s | dni is |",
        "|---|---|---|---|---|",
    ]
    for name, arm in cell["arms"].items():
        rate, speedup = arm["samples_per_second"], arm["speedup_of_dni"]
        verdict = "" if name == "dni" else _verdict(speedup)
        lines.append(
            f"| {name} | {arm['processes']} | {arm['threads']} | {rate['median']:,.0f} "
            f"({rate['min']:,.0f} to {rate['max']:,.0f}) | {verdict} |"
        )
    ceiling = cell.get("ceiling", {}).get("share_reached")
    if ceiling is not None:
        lines += ["", f"dni reaches {ceiling['median']:.0%} of its arithmetic ceiling."]
    return "\n".join(lines)


def cores_section(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of all cells with a core for every layer, by file and number of cores."""
    parts = []
    for name, document in sorted(documents.items()):
        if not any(len(cell["arms"]) > 1 for cell in document["cells"]):
            continue
        machine = document["machine"]
        seen = f"{machine['processor']}, {machine['cores']} cores, torch {machine['torch']}"
        parts += [
            f"`benchmarks/results/{name}`: {seen}, {machine['date'][:10]}; medians and ranges.",
            "",
            "| network | cores | arm | samples/s | dni is | s to quality | accuracy |",
            "|---|---|---|---|---|---|---|",
        ]
        parts += [
            _core_row(cell, arm)
            for cell in document["cells"]
            for arm in cell["arms"]
            if len(cell["arms"]) > 1
        ]
        parts += [""]
    return "\n".join(parts[:-1])


def _core_row(cell: Mapping[str, Any], arm: str) -> str:
    told = cell["arms"][arm]
    rate, factor = told["samples_per_second"], told["dni_over_it"]
    seconds = [each for each in told["seconds_to_quality"] if each is not None]
    if told["seconds_to_quality"]:
        quality = f"{median(seconds):.0f}" if seconds else "not reached"
        quality += f" | {median(told['accuracy']):.2%}"
    else:
        quality = " | "
    return (
        f"| {cell['name']} | {cell['cores']} x {cell['share']:g} | {arm} | {rate['median']:,.0f} "
        f"({rate['min']:,.0f} to {rate['max']:,.0f}; {len(rate['values'])}) "
        f"| {'' if arm == 'dni' else _verdict(factor)} | {quality} |"
    )


def learning_section(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows of all results as one table, those that miss their target included."""
    lines = [
        "| row | epochs | seeds | error % | backprop | in order | published | target |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for _, document in sorted(documents.items()):
        for row in document["rows"]:
            published = "" if row["published"] is None else f"{row['published']:.1f}"
            lines.append(
                f"| {row['name']} | {row['config']['epochs']} | {len(row['errors'])} "
                f"| {_errors(row['errors'])} | {_errors(row['backprop_errors'])} "
                f"| {_errors(row['in_order_errors'])} | {published} "
                f"| {'; '.join(row['verdicts'])} |"
            )
    settings = next(iter(documents.values()))["settings"]
    files = ", ".join(f"`{name}`" for name in sorted(documents))
    head = (
        f"MNIST test images, batch {settings['batch_size']}, Adam 1e-3 with a "
        f"{settings['lr_schedule']} schedule in every arm; mean and spread over seeds ({files}). "
        "*In order*: the same rule, one batch at a time in one process, where nothing is stale. "
        "The transformer is judged by its loss on held-out text; its errors are of the next "
        "character."
    )
    return "\n".join([head, "", *lines])


def deep_section(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """A table for each result of deep networks: every arm, and what was asked of it."""
    parts = []
    for name, document in sorted(documents.items()):
        settings, machine = document["settings"], document["machine"]
        way = "by real workers" if settings["real"] else "in order, in one process"
        held_out = "test samples" if settings["held_out"] == "test" else "held out of training"
        grid = f", the best rate of {settings['lrs']}" if settings["lrs"] else ""
        said = f"{way}, of samples {held_out}{grid}; {machine['date'][:10]}."
        parts += [f"`benchmarks/results/{name}`: {said}", "", DEEP_COLUMNS]
        parts += [*(_deep_row(row) for row in document["rows"]), ""]
        for choice in document.get("choices", ()):
            parts += [_deep_choice(choice), ""]
    return "\n".join(parts[:-1])


def _deep_row(row: Mapping[str, Any]) -> str:
    seeds = row["seeds"]
    if not seeds:
        return f"| {row['row']} | {row['arm']} | | 0 | {row['lr']:g} | | | | {row['verdict']} | | |"
    last = [seed["epochs"][-1] for seed in seeds]
    form = "{:+.2f}" if row["figure"] == "error" else "{:.3f}x"
    behind = "" if row["behind"] is None else form.format(row["behind"])
    lowest = seeds[-1]["agreement"][:1]
    cosine = f"{lowest[0][0]:.2f}" if lowest and lowest[0] else ""
    label = row["arm"] if row["delays"] == "0" else f"{row['arm']}, delay {row['delays']}"
    work = "" if row["work"] is None else f"{row['work']:.2f}x"
    return (
        f"| {row['row']} | {label} | {len(seeds[0]['epochs'])} | {len(seeds)} | {row['lr']:g} "
        f"| {_errors([each['error'] for each in last])} "
        f"| {fmean(each['loss'] for each in last):.4f} | {behind} | {row['verdict']} "
        f"| {cosine} | {work} |"
    )


def _deep_choice(choice: Mapping[str, Any]) -> str:
    """What --rule auto took, and how far that is behind the best of its candidates by hand."""
    behind = choice["behind"]
    said = (
        f"{behind:+.2f} points" if choice["figure"] == "error" else f"{behind:.3f} times its loss"
    )
    where = f"{choice['row']}, seed {choice['seed']}: `--rule auto` took {choice['taken']}"
    best = f"the best by hand is {choice['best']}"
    return f"{where}; {best}, and it is {said} behind: {choice['verdict']}."


def _errors(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{fmean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def _documents(*patterns: str) -> dict[str, Any]:
    """The kept results by file name."""
    return {
        path.name: json.loads(path.read_text(encoding="utf-8"))
        for pattern in patterns
        for path in (ROOT / "benchmarks" / "results").glob(pattern)
    }


def _replaced(text: str, name: str, section: str) -> str:
    """text, with section between the markers of name."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{section}\n{end}{after}"


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if a table is out of date.")
def main(check: bool) -> None:
    """Fill in the tables of docs/results.md from the results that are kept."""
    page = ROOT / "docs" / "results.md"
    text = page.read_text(encoding="utf-8")
    speed = speed_section(_documents("training-*.json", "accuracy-*.json"))
    learning = learning_section(_documents("learning-*.json"))
    deep = deep_section(_documents("deep-*.json"))
    new = _replaced(_replaced(text, "speed", speed), "learning", learning)
    new = _replaced(new, "deep", deep)
    new = _replaced(new, "cores", cores_section(_documents("cores*.json")))
    if check:
        sys.exit(0 if new == text else 1)
    page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
