"""What a machine with GPUs has to show, in 8 minutes: ``benchmarks.gpu``.

First the tests that need a CUDA device. Then four stages, on one device and over all there are,
against the same network in one process with CUDA graphs. Several processes on one GPU share its
time, so a speed-up is to be expected over devices alone. What there is no time for is not begun,
and named.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import numpy as np
from rich.console import Console

from benchmarks.harness.facts import Observation, Spread
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
from benchmarks.rivals.arms import train_arm
from benchmarks.workloads.gpu.timetable import Arm, Network, Timetable, arms_of, networks, planned
from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError, DniError
from dni_async.system.machine import has_nvidia_device

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
TEST_PATHS = ("tests/transport/slots", "tests/system/test_gpu.py")
NUM_STAGES, NUM_LAYERS, BATCH_SIZE, NUM_FEATURES, NUM_CLASSES = 4, 8, 512, 256, 10
NUM_EPOCHS = 4  # the first one is not counted
TESTS_SHARE = 0.4  # of all time, at most


@dataclass(slots=True)
class Cell:
    """One network: the rates of each arm, a run each, and its last loss; arms that failed."""

    network: Network
    rates: dict[str, list[float]] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    carriers: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As the JSON shows it."""
        return {
            "width": self.network.width,
            "dtype": self.network.dtype,
            "samples_per_second": {arm: Spread.of(r).to_dict() for arm, r in self.rates.items()},
            "train_loss": self.losses,
            "carriers": self.carriers,
            "failed": self.failed,
        }


@click.command("gpu")
@benchmark_options
@click.option("--widths", default="1024,2048,4096,8192", show_default=True)
@click.option("--dtypes", default="bf16,fp32", show_default=True, help="As dni-launch --dtype.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    default=7.5,
    show_default=True,
    help="What does not fit is left out.",
)
@click.option("--tests/--no-tests", default=True, help="Run the tests for CUDA first.")
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    widths: str,
    dtypes: str,
    minutes: float,
    tests: bool,
) -> None:
    """The tests for CUDA, then stages on GPUs against one process with CUDA graphs."""
    began = time.monotonic()
    measuring = Measuring.of(json_path, repeats, quick)
    measured = networks([256] if quick else numbers(widths), dtypes.split(","))
    devices = device_names()
    console, observation = make_console(), Observation()
    settings = {"widths": widths, "dtypes": dtypes, "minutes": minutes}
    settings |= {"repeats": measuring.repeats, "quick": quick}
    results: dict[str, Any] = {"devices": devices, "tests": None, "cells": [], "left_out": []}

    def keep() -> None:
        write(measuring.json, "gpu", observation.facts(), settings, results)

    if tests:
        results["tests"] = run_tests(minutes * 60 * TESTS_SHARE)
        console.print(_said_of_tests(results["tests"]), highlight=False, soft_wrap=True)
        keep()
    timetable = Timetable(minutes * 60, spent_s=time.monotonic() - began)
    cells = {network: Cell(network) for network in measured}
    arms = arms_of(len(devices), NUM_STAGES)
    for number, network, arm in planned(measured, arms, measuring.repeats):
        cell = cells[network]
        if arm.name in cell.failed or not timetable.admits(number, network, arm):
            continue
        begun = time.monotonic()
        _measure(cell, arm)
        timetable.took(network, arm, time.monotonic() - begun)
        results["cells"] = [cell.to_dict() for cell in cells.values()]
        results["left_out"] = timetable.left_out
        keep()
    results["left_out"] = timetable.left_out
    keep()
    _print(console, list(cells.values()), arms, timetable.left_out)
    print_facts(console, observation.facts())
    if results["tests"] is not None and results["tests"]["failed"]:
        raise DniError(f"tests for CUDA failed: {', '.join(results['tests']['failed'])}")


def device_names() -> list[str]:
    """Of all GPUs. Raises ConfigError where torch finds none."""
    import torch

    if not has_nvidia_device() or not torch.cuda.is_available():
        raise ConfigError(
            "gpu: there is nothing to measure, because torch finds no CUDA device here "
            "(dni-doctor says why)"
        )
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def run_tests(patience_s: float) -> dict[str, Any]:
    """The tests for CUDA in a process of their own: how many passed, which failed or were skipped.

    After patience_s they are ended, which counts as failed.
    """
    with tempfile.TemporaryDirectory(prefix="dni-bench-") as folder:
        found = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
        begun = time.monotonic()
        try:
            ended = subprocess.run(
                [*command, f"--junitxml={found}", *TEST_PATHS],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=patience_s,
            )
            said = ended.stdout[-2000:]
        except subprocess.TimeoutExpired:
            said = f"not done after {patience_s:.0f} s"
        seconds = round(time.monotonic() - begun, 1)
        return {**outcomes(found, said), "seconds": seconds}


def outcomes(found: Path, said: str) -> dict[str, Any]:
    """What a file of results in JUnit's format says; said: what to tell where there is none."""
    if not found.exists():
        return {"passed": 0, "failed": ["all"], "skipped": {}, "said": said}
    passed, failed, skipped = 0, [], {}
    for case in ElementTree.parse(found).iter("testcase"):
        name = case.get("name", "")
        reason = case.find("skipped")
        if reason is not None:
            skipped[name] = reason.get("message", "")
        elif case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        else:
            passed += 1
    return {"passed": passed, "failed": failed, "skipped": skipped, "said": said if failed else ""}


def _said_of_tests(tests: dict[str, Any]) -> str:
    told = f"tests for CUDA: {tests['passed']} passed, {len(tests['failed'])} failed, "
    told += f"{len(tests['skipped'])} skipped, in {tests['seconds']:.0f} s"
    return "\n".join([told, tests["said"]] if tests["said"] else [told])


def config_of(network: Network, arm: Arm, data: str) -> RunConfig:
    """What arm trains: the same network, data and order for all."""
    return RunConfig.from_dict(
        {
            "data": data,
            "layers": NUM_LAYERS,
            "width": network.width,
            "norm": "none",
            "stages": arm.num_stages,
            "partition": "even",
            "batch_size": BATCH_SIZE,
            "epochs": NUM_EPOCHS,
            "dtype": network.dtype,
            "devices": list(arm.devices),
            "compile": arm.has_graphs,
            "baseline": False,
        }
    )


def write_numbers(path: Path, network: Network) -> None:
    """Samples that can be learnt: classes by a fixed random projection."""
    generator = np.random.default_rng(0)
    projection = generator.standard_normal((NUM_FEATURES, NUM_CLASSES), dtype=np.float32)
    num_train = network.num_batches * BATCH_SIZE
    x = generator.standard_normal((num_train + BATCH_SIZE, NUM_FEATURES), dtype=np.float32)
    y = (x @ projection).argmax(1)
    np.savez(
        path,
        x_train=x[:num_train],
        y_train=y[:num_train],
        x_test=x[num_train:],
        y_test=y[num_train:],
    )


def _measure(cell: Cell, arm: Arm) -> None:
    with tempfile.TemporaryDirectory(prefix="dni-bench-") as folder:
        path = Path(folder) / "samples.npz"
        write_numbers(path, cell.network)
        try:
            ours = "dni" if arm.num_stages > 1 else "baseline-all-threads"
            trained = train_arm(ours, config_of(cell.network, arm, str(path)))
        except DniError as error:
            cell.failed[arm.name] = str(error)[-1000:]
            cell.rates.pop(arm.name, None)
            return
    cell.rates.setdefault(arm.name, []).append(trained.samples_per_second)
    cell.losses[arm.name] = trained.train_loss
    if trained.links:
        cell.carriers[arm.name] = [link.carrier for link in trained.links]


def _print(
    console: Console, cells: Sequence[Cell], arms: Sequence[Arm], left_out: Sequence[str]
) -> None:
    """A line for each network and arm; the ratio to the baseline is that of the medians."""
    made = table("samples/s (median of rounds)", ["network", "arm", "samples/s", "times", "loss"])
    for cell in cells:
        name = f"{NUM_LAYERS} x {cell.network.width}, {cell.network.dtype}"
        base = cell.rates.get(arms[0].name)
        for arm in arms:
            rates = cell.rates.get(arm.name)
            if rates is None:
                made.add_row(name, arm.name, "failed" if arm.name in cell.failed else "left out")
                continue
            rate = Spread.of(rates).median
            ratio = "" if base is None else f"{rate / Spread.of(base).median:.2f}x"
            made.add_row(name, arm.name, f"{rate:,.0f}", ratio, f"{cell.losses[arm.name]:.3f}")
    console.print(made)
    for cell in cells:
        for arm_name, reason in cell.failed.items():
            console.print(f"{arm_name} failed: {reason}", highlight=False, markup=False)
    if left_out:
        console.print(
            f"no time for {len(left_out)} runs: {'; '.join(left_out)}",
            highlight=False,
            soft_wrap=True,
        )


if __name__ == "__main__":
    enter(main)
