"""What deaths cost: one run whose processes are killed at random moments, and one undisturbed.

``python -m benchmarks.chaos``. A worker or the fork server, drawn by chance, gets SIGKILL every few
seconds, a replacement as well as any other, until three quarters of the epochs are over. A stage
that dies goes on from the newest checkpoint. After it the run is held against what is promised of
deaths: every epoch is told of, the newest checkpoint loads, and no more samples are lost than were
in flight, or counted by a head that died.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import psutil
from rich.console import Console

from benchmarks.harness.facts import Observation, Spread
from benchmarks.harness.report import (
    Measuring,
    benchmark_options,
    enter,
    make_console,
    print_facts,
    table,
    write,
)
from benchmarks.rivals.arms import Trained, train_arm
from dni_async.config.run_config import RunConfig
from dni_async.errors import CheckpointError
from dni_async.files.checkpoint import find_newest
from dni_async.files.shards import read_shard
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.plan.plan import make_plan
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.resume import identity

__all__ = ["Kept", "kept_of", "main"]

ROLES = ("dni-stage-", "dni-fork-server")  # all that may die; as ps shows them
QUICK = {
    "data": "digits",
    "data_dir": None,
    "epochs": 40,
    "kills": 2,
    "every_s": 0.02,
    "checkpoint_every": "0.05s",
}


class Killer(Display):
    """Kills num_kills times a worker or the fork server of this process's run, every_s apart.

    On average, and less often if the run has come to last_epoch before: what dies late learns no
    more.
    """

    def __init__(self, num_kills: int, every_s: float, seed: int, *, last_epoch: int) -> None:
        super().__init__(Console(quiet=True))
        self.killed: list[str] = []
        self._killed: set[psutil.Process] = set()  # one that is dying still runs for a moment
        self._num_kills = num_kills
        self._every_s = every_s
        self._last_epoch = last_epoch
        self._draw = random.Random(seed)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._kill_all, daemon=True)

    def started(self, startup_s: float, pids: Mapping[int, int]) -> None:
        """From here on a death is survived."""
        self._thread.start()

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """An epoch is over."""
        if epoch.epoch >= self._last_epoch:
            self._is_over.set()

    def stop(self) -> None:
        """Kill nobody any more."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _kill_all(self) -> None:
        while len(self.killed) < self._num_kills:
            if self._is_over.wait(self._draw.expovariate(1 / self._every_s)):
                return
            self._kill_one()

    def _kill_one(self) -> None:
        with suppress(psutil.Error):  # gone meanwhile: the next time then
            there = [
                child
                for child in psutil.Process(os.getpid()).children(recursive=True)
                if child.name().startswith(ROLES) and child not in self._killed
                if child.status() != psutil.STATUS_ZOMBIE
            ]
            if there:
                victim = self._draw.choice(there)
                name = victim.name()
                victim.kill()
                self._killed.add(victim)
                self.killed.append(name)


@dataclass(frozen=True, slots=True)
class Kept:
    """How a run with deaths holds what is promised of them; see ``broken``.

    epochs_missing: numbers of epochs that are not in the report, or are there twice or out of
    order. epochs_without_figures: of those that are, where the training loss or all metrics are
    lost, as a head that dies may take them with it. heads_killed: how many did. checkpoint: why the
    newest whole one does not load, empty if it does. samples_short: of the num_train of each epoch,
    over all. samples_in_flight: the same without as many epochs, those with the greatest gaps, as
    heads were killed: nobody knows the sums of their beginning any more. most: what of these may be
    lost: two windows of batches around each death.
    """

    epochs_missing: list[int]
    epochs_without_figures: list[int]
    heads_killed: int
    checkpoint: str
    samples_short: int
    samples_in_flight: int
    most: int

    @property
    def broken(self) -> list[str]:
        """What of it was not kept."""
        told = {
            f"epochs {self.epochs_missing} are missing": bool(self.epochs_missing),
            f"figures of epochs {self.epochs_without_figures} are lost": (
                len(self.epochs_without_figures) > self.heads_killed
            ),
            f"checkpoint: {self.checkpoint}": bool(self.checkpoint),
            f"{self.samples_in_flight:,} samples, {self.most:,} at most": (
                self.samples_in_flight > self.most
            ),
        }
        return [text for text, is_so in told.items() if is_so]


def kept_of(
    config: RunConfig,
    epochs: Sequence[EpochResult],
    restarts: Sequence[RestartResult],
    num_train: int,
    head: int,
    checkpoint: str,
) -> Kept:
    """What a run of config that learns from num_train samples an epoch, with restarts, kept.

    head: its last stage.
    """
    told = [epoch.epoch for epoch in epochs]
    due = list(range(1, config.epochs + 1))
    missing = [number for number in due if told.count(number) != 1]
    short = sorted((num_train - epoch.num_samples for epoch in epochs), reverse=True)
    num_heads = sum(1 for each in restarts if each.stage == head)
    return Kept(
        epochs_missing=missing if missing or told == due else told,
        epochs_without_figures=[
            each.epoch for each in epochs if each.train_loss is None or not each.test_metrics
        ],
        heads_killed=num_heads,
        checkpoint=checkpoint,
        samples_short=sum(short),
        samples_in_flight=sum(short[num_heads:]),
        most=2 * config.places * config.batch_size * len(restarts),
    )


def _fault_of_checkpoints(config: RunConfig, folder: RunFolder) -> str:
    """Why the newest whole checkpoint does not load; empty where it does."""
    refused: list[str] = []
    newest = find_newest(folder.checkpoints, identity(make_plan(config)), refused.append)
    if newest is None:
        return "; ".join(refused) or "there is none"
    try:
        cuts = {
            tuple(read_shard(newest.path(stage)).facts["cut"])
            for stage in range(len(newest.shards))
        }
    except CheckpointError as error:
        return str(error)
    return "; ".join(refused) if len(cuts) == 1 else f"its parts are of {sorted(cuts)}"


@click.command("chaos")
@click.option("--data", default="mnist", show_default=True, help="As for dni-launch.")
@click.option("--data-dir", help="As for dni-launch.")
@click.option("--layers", default=4, show_default=True, help="As for dni-launch.")
@click.option("--width", default=256, show_default=True, help="As for dni-launch.")
@click.option("--epochs", default=60, show_default=True, help="As for dni-launch.")
@click.option("--seed", default=0, show_default=True, help="Of the run and of who is killed when.")
@click.option("--checkpoint-every", default="2s", show_default=True, help="As for dni-launch.")
@click.option(
    "--kills", default=50, show_default=True, type=click.IntRange(min=1), help="In the whole run."
)
@click.option(
    "--every-s",
    default=1.5,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Mean seconds from one kill to the next.",
)
@click.option(
    "--undisturbed/--no-undisturbed", default=True, help="Train once without deaths as well."
)
@benchmark_options
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    kills: int,
    every_s: float,
    undisturbed: bool,
    **run: Any,
) -> None:
    """Kill processes of one run at random moments; its accuracy, how soon each stage trains again,
    and whether all is kept that is promised.
    """
    measuring = Measuring.of(json_path, repeats or 1, quick)
    asked = {**run, "kills": kills, "every_s": every_s}
    if quick:
        asked |= QUICK
    num_kills, mean_s = asked.pop("kills"), asked.pop("every_s")
    config = RunConfig(**asked, norm="none", baseline=False, max_restarts=num_kills)
    console, observation = make_console(), Observation()
    results: dict[str, Any] = {"killed": [], "undisturbed": [], "disturbed": []}
    for number in range(measuring.repeats):
        seeded = replace(config, seed=config.seed + number)
        if undisturbed:
            results["undisturbed"].append(_row(train_arm("dni", seeded)))
        killer = Killer(num_kills, mean_s, seeded.seed, last_epoch=seeded.epochs * 3 // 4)
        results["disturbed"].append(_disturbed(seeded, killer))
        results["killed"].append(killer.killed)
    facts = observation.facts()
    _print(console, results)
    print_facts(console, facts)
    settings = {**config.to_dict(), "data_dir": None, "repeats": measuring.repeats}
    settings |= {"kills": num_kills, "every_s": mean_s, "quick": measuring.quick}
    write(measuring.json, "chaos", facts, settings, results)
    broken = [text for row in results["disturbed"] for text in row["broken"]]
    if broken:
        raise click.ClickException(f"what is promised was not kept: {'; '.join(broken)}")


def _disturbed(config: RunConfig, killer: Killer) -> dict[str, Any]:
    """The row of a run in which killer kills, with what it kept."""
    faults: list[str] = []
    try:
        trained = train_arm(
            "dni",
            config,
            killer,
            look=lambda folder: faults.append(_fault_of_checkpoints(config, folder)),
        )
    finally:
        killer.stop()
    num_train = make_plan(config).num_train
    assert num_train is not None, "benchmarks train on arrays"
    kept = kept_of(
        *(config, trained.epochs, trained.restarts),
        num_train=num_train,
        head=trained.num_processes - 1,
        checkpoint=faults[0],
    )
    return {**_row(trained), "kept": asdict(kept), "broken": kept.broken}


def _row(trained: Trained) -> dict[str, Any]:
    seconds = [each.seconds for each in trained.restarts if each.seconds is not None]
    train_seconds = sum(epoch.seconds for epoch in trained.epochs)
    return {
        "test_accuracy": trained.epochs[-1].test_metrics["accuracy"],
        "num_samples": sum(epoch.num_samples for epoch in trained.epochs),
        "train_seconds": train_seconds,
        "all_up": 1 - _vacant_s(trained.restarts) / train_seconds,
        "num_epochs": len(trained.epochs),
        "num_restarts": len(trained.restarts),
        "recovery_seconds": Spread.of(seconds).to_dict() if seconds else None,
    }


def _vacant_s(restarts: Sequence[RestartResult]) -> float:
    """Seconds in which any stage had nobody who trained it."""
    vacant_s, until = 0.0, 0.0
    for each in sorted(restarts, key=lambda restart: restart.at_seconds):
        end = each.at_seconds + (each.seconds or 0.0)
        vacant_s += max(0.0, end - max(until, each.at_seconds))
        until = max(until, end)
    return vacant_s


def _print(console: Console, results: Mapping[str, Any]) -> None:
    made = table(
        "s to train again: from a death to the first update of the stage's next worker",
        ["run", "deaths", "accuracy", "samples", "train s", "all up", "s to train again", "most"],
    )
    for name in ("undisturbed", "disturbed"):
        for row in results[name]:
            recovery = row["recovery_seconds"]
            made.add_row(
                name,
                str(row["num_restarts"]),
                f"{row['test_accuracy']:.2%}",
                f"{row['num_samples']:,}",
                f"{row['train_seconds']:.1f}",
                f"{row['all_up']:.1%}",
                "" if recovery is None else f"{recovery['median']:.2f}",
                "" if recovery is None else f"{recovery['max']:.2f}",
            )
    console.print(made)


if __name__ == "__main__":
    enter(main)
