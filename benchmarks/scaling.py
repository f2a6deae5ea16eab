"""More and more stages: ``python -m benchmarks.scaling``.

Measured on the cores there are (see benchmarks.workloads.simulation.lengths), then held against the
simulation, which carries the curve to thousands of stages with a core each, slow networks and
stragglers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.harness.facts import Observation
from benchmarks.harness.report import (
    Measuring,
    benchmark_options,
    enter,
    make_console,
    numbers,
    print_facts,
    table,
    write,
)
from benchmarks.harness.samples import write_samples
from benchmarks.workloads.simulation.calibration import LOCAL, LinkTimes, measure_links
from benchmarks.workloads.simulation.lengths import (
    Length,
    Mode,
    Setting,
    boundary_cost,
    measure_lengths,
)
from benchmarks.workloads.simulation.projection import print_curve, project
from benchmarks.workloads.simulation.stage_times import StageTimes, measure_stages
from dni_async.config.run_config import RunConfig
from dni_async.system.machine import available_cores

__all__ = ["main"]

CURVE = (4, 16, 64, 256, 1024, 4096)
MEASURED_STAGES = 4  # source, two in the middle, head: what the curve is made of
STAGE_BATCHES = 48
DEFAULTS = RunConfig()


@click.command("scaling")
@benchmark_options
@click.option("--width", type=click.IntRange(min=1), help="Of every layer.  [default: 512]")
@click.option("--layers", type=click.IntRange(min=2), help="Of the strong runs.  [default: 16]")
@click.option("--stages", "counts", help="Lengths to measure.  [default: 1,2,4,8,16]")
@click.option("--longest", type=click.IntRange(min=4), help="To simulate.  [default: 4096]")
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--window", type=click.IntRange(min=1), default=DEFAULTS.places, show_default=True)
@click.option(
    "--anchor-every", type=click.IntRange(min=0), default=DEFAULTS.anchor_every, show_default=True
)
@click.option("--data", default="mnist", show_default=True)
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path))
@click.option("--max-samples", type=click.IntRange(min=1), help="[default: 50 batches]")
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    counts: str | None,
    longest: int | None,
    data: str,
    data_dir: Path | None,
    max_samples: int | None,
    width: int | None,
    layers: int | None,
    batch_size: int,
    window: int,
    anchor_every: int,
) -> None:
    """Strong and weak scaling, the cost of a boundary, and a simulated line far beyond."""
    measuring = Measuring.of(json_path, repeats, quick)
    lengths = numbers(counts or ("1,2,3" if quick else "1,2,4,8,16"))
    console = make_console()
    observation = Observation()
    with tempfile.TemporaryDirectory(prefix="dni-bench-") as folder:
        setting = Setting(
            width=width or (32 if quick else 512),
            layers=layers or (4 if quick else 16),
            batch_size=batch_size,
            window=window,
            anchor_every=anchor_every,
            path=Path(folder) / "samples.npz",
        )
        write_samples(
            setting.path,
            data,
            data_dir,
            max_samples=max_samples or (4 if quick else 50) * batch_size,
            batch_size=batch_size,
            num_features=setting.width,
        )
        links = _links(setting, measuring.repeats)
        modes = measure_lengths(
            setting,
            lengths,
            measuring.repeats,
            links[LOCAL],
            lambda text: console.print(text, highlight=False),
        )
        stages = _parts(setting)
    boundary_s = boundary_cost(modes["strong"])
    may_compare = observation.facts()["not_comparable"] is None
    for mode, measured in modes.items():
        _print_lengths(console, mode, measured, may_compare=may_compare)
    _print_boundary(console, boundary_s, links[LOCAL])
    curve = list(
        project(
            stages,
            links,
            window=window,
            anchor_every=anchor_every,
            stage_counts=[count for count in CURVE if count <= (longest or _longest(quick))],
        )
    )
    print_curve(console, curve, batch_size)
    facts = observation.facts()
    print_facts(console, facts)
    results: dict[str, Any] = {
        **{mode: [length.to_dict() for length in each] for mode, each in modes.items()},
        "core_seconds_per_boundary": boundary_s,
        "links": {lane: asdict(times) for lane, times in links.items()},
        "parts": [asdict(stage) for stage in stages],
        "simulated": [point.to_dict(batch_size) for point in curve],
    }
    asked = asdict(setting) | {"repeats": measuring.repeats, "quick": quick, "data": data}
    write(measuring.json, "scaling", facts, asked | {"path": data}, results)


def _longest(quick: bool) -> int:
    return 16 if quick else CURVE[-1]


def _links(setting: Setting, repeats: int) -> dict[str, LinkTimes]:
    size_bytes = setting.batch_size * setting.width * 4
    return measure_links(
        size_bytes,
        window=setting.window,
        repeats=repeats,
        num_messages=max(20, min(1000, 2**28 // size_bytes)),
    )


def _parts(setting: Setting) -> list[StageTimes]:
    """The stages that the simulated line is made of, measured with all cores at work."""
    config = setting.config("weak", MEASURED_STAGES)
    return measure_stages(config, STAGE_BATCHES, copies=available_cores())


def _print_lengths(
    console: Console, mode: Mode, lengths: Sequence[Length], *, may_compare: bool
) -> None:
    first = lengths[0].rate.median
    title = {
        "strong": f"strong: {lengths[0].config.layers} layers cut into stages, samples/s",
        "weak": "weak: a layer more with each stage, samples/s",
    }[mode]
    columns = ["stages", "layers", "measured", "range", f"of {lengths[0].num_stages} stage(s)"]
    made = table(title, [*columns, "simulated", "error", "busy", "MB/worker"])
    for length in lengths:
        rate = length.rate
        made.add_row(
            str(length.num_stages),
            str(length.config.layers),
            f"{rate.median:,.0f}",
            f"{rate.least:,.0f}-{rate.most:,.0f}",
            f"{rate.median / first:.2f}x" if may_compare else "-",
            f"{length.simulated:,.0f}",
            f"{length.error:+.0%}" if may_compare else "-",
            f"{length.busy:.0%}",
            f"{length.rss_bytes.median / 2**20:.0f}",
        )
    console.print(made)


def _print_boundary(console: Console, boundary_s: float | None, link: LinkTimes) -> None:
    messages_ms = (link.lower_cpu_s + link.upper_cpu_s) * 1e3
    known = "unknown (two lengths that fill the cores are needed)"
    if boundary_s is not None:
        known = f"{boundary_s * 1e3:+.2f} core-ms per batch"
    console.print(
        f"one more boundary in the strong network: {known}, net of the product that it saves; "
        f"its message alone: {messages_ms:.2f} core-ms, latency {link.latency_s * 1e6:.0f} us",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    enter(main)
