"""Write the README's speed table from what is kept in benchmarks/results/.

``python -m benchmarks.readme`` replaces the text between the two speed markers; ``--check`` only
says whether it is up to date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

__all__ = ["main", "speed_section"]

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"


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
            parts.append(_race(cell) if "target_accuracy" in cell else _cell(cell))
    return "\n\n".join(parts)


def _race(cell: Mapping[str, Any]) -> str:
    """Seconds to an accuracy; a seed that did not reach it is counted, not left out."""
    target = cell["target_accuracy"]
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
        said = "" if name == "dni" else "not comparable" if speedup is None else _verdict(speedup)
        lines.append(f"| {name} | {arm['threads']} | {took} | {reached} | {last} | {said} |")
    return "\n".join(lines)


def _network(config: Mapping[str, Any]) -> str:
    return (
        f"{config['layers']} layers, width {config['width']}, batch {config['batch_size']}, "
        f"{config['dtype']}"
    )


def _verdict(speedup: Mapping[str, Any]) -> str:
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


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if the table is out of date.")
def main(check: bool) -> None:
    """Fill in the README's speed table from the results that are kept."""
    documents = {
        path.name: json.loads(path.read_text(encoding="utf-8"))
        for pattern in ("training-*.json", "accuracy-*.json")
        for path in (ROOT / "benchmarks" / "results").glob(pattern)
    }
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    new = f"{before}{BEGIN}\n{speed_section(documents)}\n{END}{after}"
    if check:
        sys.exit(0 if new == text else 1)
    readme.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
