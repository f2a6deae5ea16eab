"""Runs over several hosts: slow links, far hosts, cut hosts, and a great many workers on one."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from benchmarks.harness.facts import Observation, Spread
from benchmarks.harness.hosts.hosts import FAR_BUFFER_BYTES, far_hosts, hosts
from benchmarks.harness.hosts.joined_run import accuracy, joined_run, samples_per_second
from benchmarks.harness.report import (
    Measuring,
    benchmark_options,
    enter,
    make_console,
    print_facts,
    table,
    write,
)
from benchmarks.rivals.arms import train_rival_on
from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError, WorkerDied
from dni_async.launcher.commands.options import number_or_auto
from dni_async.launcher.places.local import command_for
from dni_async.launcher.report.comparison import NOT_COMPARABLE

CUT_S = 10.0
NUM_HOSTS = 4
RATIOS = ("times_1f1b_", "of_the_rate_without_delay")
FIRST_EPOCH = r"epoch +1 "
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Distance:
    """delay_s: one way. buffer_bytes: see far_hosts. evaluate_every: epochs, as in the settings."""

    delay_s: float
    buffer_bytes: int
    evaluate_every: int


@click.command(name="cluster")
@benchmark_options
@click.option("--rows", default="links,delay,cut,spare,many", show_default=True)
@click.option("--width", default=1024, show_default=True, help="Of the hidden layers.")
@click.option("--megabits", default=100.0, show_default=True, help="Of every host's link.")
@click.option("--delay-ms", default=25.0, show_default=True, help="One way, between all hosts.")
@click.option(
    "--buffer-megabytes",
    default=FAR_BUFFER_BYTES >> 20,
    show_default=True,
    help="That tcp may have under way between far hosts; 0 leaves what the system sets.",
)
@click.option(
    "--window",
    type=number_or_auto("activations"),
    default=16,
    show_default=True,
    help="Of the runs near and far.",
)
@click.option("--batch-size", default=256, show_default=True)
@click.option(
    "--evaluate-every", default=1, show_default=True, help="Of the runs near and far, in epochs."
)
@click.option(
    "--wire-formats",
    default="same,same+omit,bf16,bf16+omit,int8",
    show_default=True,
    help="To be tried: values of --wire-dtype, with +omit those of --wire-zeros too.",
)
@click.option("--many", "num_many", default=64, show_default=True, help="Workers on one host.")
@click.option("--data", default="mnist", show_default=True)
@click.option("--data-dir", metavar="DIR")
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    rows: str,
    width: int,
    megabits: float,
    delay_ms: float,
    buffer_megabytes: int,
    window: int | str,
    batch_size: int,
    evaluate_every: int,
    wire_formats: str,
    num_many: int,
    data: str,
    data_dir: str | None,
) -> None:
    """What do distance, slow links and lost hosts cost? As root, on hosts made for it."""
    measuring = Measuring.of(json_path, repeats, quick)
    network = [
        f"--data={data}",
        f"--layers={NUM_HOSTS}",
        f"--width={width}",
        "--norm=none",
        f"--batch-size={batch_size}",
    ]
    network += [f"--data-dir={data_dir}"] if data_dir else []
    shape = {"layers": NUM_HOSTS, "width": width, "norm": "none", "batch_size": batch_size}
    config = RunConfig.from_dict({"data": data, "data_dir": data_dir, **shape})
    distance = Distance(delay_ms / 1000, buffer_megabytes << 20, evaluate_every)
    measure: dict[str, Callable[[], Row]] = {
        "links": lambda: slow_links(network, config, megabits, wire_formats, measuring),
        "delay": lambda: far(distance, [*network, f"--window={window}"], measuring),
        "cut": lambda: cut(network, measuring),
        "spare": lambda: lost(network, measuring),
        "many": lambda: many(num_many, measuring),
    }
    asked = rows.split(",")
    if unknown := set(asked) - measure.keys():
        raise ConfigError(f"rows: {', '.join(sorted(unknown))}; there are {', '.join(measure)}")
    console, observation = make_console(), Observation()
    results: dict[str, Row] = {}
    for name in asked:
        beside = Observation()
        results[name] = _comparable(measure[name](), beside.facts()["not_comparable"])
        shown = table(name, ["what", "figure"])
        for what, figure in results[name].items():
            shown.add_row(what.replace("_", " "), _show(figure))
        console.print(shown)
        settings = {"rows": asked, "width": width, "megabits": megabits, "delay_ms": delay_ms}
        settings |= {
            "buffer_megabytes": buffer_megabytes,
            "window": window,
            "batch_size": batch_size,
            "evaluate_every": evaluate_every,
        }
        settings |= {"data": data, "repeats": measuring.repeats, "quick": quick}
        write(json_path, "cluster", observation.facts(), settings, {"rows": results})
    print_facts(console, observation.facts())


def _comparable(row: Row, not_comparable: str | None) -> Row:
    """The row, with a reason in place of each ratio where the machine was not quiet."""
    if not_comparable is None:
        return row
    return {
        name: f"{NOT_COMPARABLE}: {not_comparable}" if name.startswith(RATIOS) else figure
        for name, figure in row.items()
    }


def slow_links(
    network: list[str], config: RunConfig, megabits: float, wire_formats: str, measuring: Measuring
) -> Row:
    """Samples per second of ours and of torch's 1F1B over gloo, a host for each stage."""
    samples = 2560 if measuring.quick else 12_800
    formats = wire_formats.split(",")
    rates: dict[str, list[float]] = {name: [] for name in (*formats, "1f1b")}
    own = ["--epochs=2", "--no-baseline", "--transport=tcp"]
    with tempfile.TemporaryDirectory(prefix="dni-cluster-") as folder:
        path, given = _cut_short(config, samples, Path(folder))
        flags = [flag for flag in network if not flag.startswith("--data")] + [f"--data={path}"]
        with hosts(NUM_HOSTS, megabits=megabits) as made:
            for _ in range(measuring.repeats):
                for name in formats:
                    with joined_run(made, *flags, *own, *_wire_flags(name)) as run:
                        rates[name].append(samples_per_second(run.end()))
                rival = train_rival_on(made, "1f1b", given)
                rates["1f1b"].append(rival.samples_per_second)
    row: Row = {
        f"samples_per_second_{name}": Spread.of(each).to_dict() for name, each in rates.items()
    }
    for name in formats:
        ratios = [ours / rival for ours, rival in zip(rates[name], rates["1f1b"], strict=True)]
        row[f"times_1f1b_{name}"] = Spread.of(ratios).to_dict()
    return row


def _wire_flags(name: str) -> list[str]:
    """The settings of a format: DTYPE, or DTYPE+omit."""
    dtype, _, zeros = name.partition("+")
    return [f"--wire-dtype={dtype}", *([f"--wire-zeros={zeros}"] if zeros else [])]


def _cut_short(config: RunConfig, samples: int, folder: Path) -> tuple[Path, RunConfig]:
    """The first samples of the data in a file of their own, and the run on them."""
    import numpy as np

    from dni_async.data import load_dataset

    full = load_dataset(config.data, None if config.data_dir is None else Path(config.data_dir))
    path = folder / "short.npz"
    np.savez(
        path,
        x_train=full.decode(full.x_train[:samples]),
        y_train=full.y_train[:samples],
        x_test=full.decode(full.x_test[:1000]),
        y_test=full.y_test[:1000],
    )
    return path, replace(config, data=str(path), data_dir=None, epochs=2)


def far(distance: Distance, network: list[str], measuring: Measuring) -> Row:
    """The same run with hosts side by side and far apart, whole epochs, through one router."""
    every = distance.evaluate_every
    num_tests = 2 if measuring.quick or every > 1 else 3  # the time to the first is not counted
    flags = [*network, f"--epochs={num_tests * every}", f"--evaluate-every={every}"]
    flags += ["--no-baseline", "--transport=tcp"]
    rates: dict[str, list[float]] = {"near": [], "far": []}
    accuracies: dict[str, list[float]] = {"near": [], "far": []}
    routed: dict[str, list[float]] = {"near": [], "far": []}
    sides = (("near", 0.0), ("far", distance.delay_s))
    for number in range(measuring.repeats):
        for name, delay in sides if number % 2 == 0 else reversed(sides):  # the machine drifts
            with far_hosts(NUM_HOSTS, delay, distance.buffer_bytes) as made:
                with joined_run(made.hosts, *flags) as run:
                    report = run.end()
                routed[name].append(made.router_cpu_s)
            rates[name].append(samples_per_second(report))
            accuracies[name].append(accuracy(report))
    ratios = [far / near for far, near in zip(rates["far"], rates["near"], strict=True)]
    pairs = zip(accuracies["far"], accuracies["near"], strict=True)
    return {
        **{f"samples_per_second_{name}": Spread.of(each).to_dict() for name, each in rates.items()},
        **{f"router_cpu_seconds_{name}": Spread.of(s).to_dict() for name, s in routed.items()},
        "of_the_rate_without_delay": Spread.of(ratios).to_dict(),
        "accuracy_points_gained": Spread.of([100 * (a - b) for a, b in pairs]).to_dict(),
    }


def cut(network: list[str], measuring: Measuring) -> Row:
    """A host in the middle is cut off for a while, and back: nothing is to be lost."""
    flags = [*network, f"--epochs={4 if measuring.quick else 6}", "--no-baseline"]
    with hosts(NUM_HOSTS) as made, joined_run(made, *flags) as run:
        run.wait_for(FIRST_EPOCH)
        made[2].cut()
        began = time.monotonic()
        time.sleep(CUT_S)
        made[2].heal()
        away_s = time.monotonic() - began
        report = run.end()
    row = report["runs"][0]
    return {
        "cut_seconds": round(away_s, 1),
        "restarts": len(row["restarts"]),
        "accuracy": accuracy(report),
        "epochs_short_of_samples": _short_epochs(row),
    }


def lost(network: list[str], measuring: Measuring) -> Row:
    """A host in the middle is cut off for good; a spare on a fifth one takes its stage."""
    flags = [*network, f"--epochs={8 if measuring.quick else 12}", "--no-baseline"]
    flags += ["--silent-after-s=5", "--checkpoint-every=2s"]
    with hosts(NUM_HOSTS + 1) as made, joined_run(made[:NUM_HOSTS], *flags) as run:
        run.wait_for("workers started")
        run.add_spare(made[NUM_HOSTS])
        run.wait_for("waiting for a stage")
        run.wait_for(FIRST_EPOCH)
        made[2].cut()
        report = run.end()
    row = report["runs"][0]
    restarts = row["restarts"]
    return {
        "restarts": len(restarts),
        "cause": restarts[0]["cause"] if restarts else "none",
        "seconds_until_it_trained_again": restarts[0]["seconds"] if restarts else None,
        "accuracy": accuracy(report),
        "epochs_short_of_samples": _short_epochs(row),
    }


def _short_epochs(row: Row) -> int:
    """Epochs in which the head was given fewer samples than there are."""
    most = max(epoch["num_samples"] for epoch in row["epochs"])
    return sum(epoch["num_samples"] < most for epoch in row["epochs"])


def many(num_workers: int, measuring: Measuring) -> Row:
    """A network of so many layers in as many workers on this host alone."""
    with tempfile.TemporaryDirectory(prefix="dni-cluster-") as folder:
        path = Path(folder) / "report.json"
        flags = (f"--layers={num_workers}", "--width=64", "--norm=batch", "--model=residual")
        length = ("--epochs=2", "--no-baseline", "--start-timeout-s=120", f"--report={path}")
        command = command_for("dni_async.launcher.cli", *flags, *length, f"--run-dir={folder}/run")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise WorkerDied(done.stdout[-2000:] + done.stderr[-2000:], done.returncode)
        row = json.loads(path.read_text())["runs"][0]
    megabytes = [worker["rss_bytes"] / 1e6 for worker in row["workers"]]
    return {
        "workers": row["num_workers"],
        "startup_seconds": round(row["startup_seconds"], 2),
        "samples_per_second": round(row["samples_per_second"]),
        "test_accuracy": row["test_metrics"]["accuracy"],
        "mean_rss_megabytes": round(sum(megabytes) / num_workers),
        "most_rss_megabytes": round(max(megabytes)),
    }


def _show(figure: Any) -> str:
    if isinstance(figure, dict):
        return f"{figure['median']:,.4g} ({figure['min']:,.4g} to {figure['max']:,.4g})"
    return f"{figure:,}" if isinstance(figure, int) else str(figure)


if __name__ == "__main__":
    enter(main)
