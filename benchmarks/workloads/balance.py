"""Layers that move: ``python -m benchmarks.workloads.balance``.

Sixteen equal layers in four workers, each held to a share of a core by a control group. In the
middle of a run one worker is given a quarter of its share. Seconds per epoch before and after that,
with ``--rebalance on`` and without; what an undisturbed run learns; and whether layers are what
they were behind a move, by a lockstep run with one and without.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from safetensors.torch import load_file

from benchmarks.harness.facts import Observation, Spread
from benchmarks.harness.report import (
    Measuring,
    benchmark_options,
    enter,
    make_console,
    print_facts,
    rotated,
    table,
    write,
)
from benchmarks.harness.samples import write_samples
from benchmarks.harness.shares import hold_process, set_share, share_of, shares
from benchmarks.rivals.arms import Trained, train_arm
from benchmarks.workloads.cores.cases import digits_of
from dni_async.config.run_config import RunConfig
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.report.results import EpochResult, RunResult
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.system.machine import available_cores

__all__ = ["Slowing", "main", "told_of"]

WORKERS, LAYERS, SLOW = 4, 16, 1  # the layer of the classes is a small one behind them
TIMES = 4  # slower
SETTLED_S = 10.0  # behind the change: from then on an epoch takes what it takes
TARGET, MOST_STALL_S, SLACK = 1.35, 1.0, 0.0015
UNDISTURBED, FIXED, MOVING = "undisturbed", "rebalance off", "rebalance on"
MOVE: Final = "3:5+1+5+6"  # of the lockstep run


class Slowing(Display):
    """Holds each worker to its group's share; slows one down when an epoch has ended.

    after: that epoch; 0 for none. ends: of each epoch, by the monotonic clock; slowed_at: when.
    """

    def __init__(self, console: Console, groups: Sequence[Path], share: float, after: int) -> None:
        super().__init__(console)
        self.ends: list[float] = []
        self.slowed_at: float | None = None
        self._groups, self._share, self._after = groups, share, after

    def started(self, startup_s: float, pids: Mapping[int, int]) -> None:
        """Before the first batch."""
        super().started(startup_s, pids)
        for stage, pid in pids.items():
            hold_process(self._groups[stage], pid)
        for group in self._groups:
            set_share(group, self._share)

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """One is over."""
        super().epoch(run, epoch)
        self.ends.append(time.monotonic())
        if len(self.ends) == self._after:
            set_share(self._groups[SLOW], self._share / TIMES)
            self.slowed_at = self.ends[-1]


def told_of(trained: Trained, watch: Slowing, settled_s: float) -> dict[str, Any]:
    """One run as the JSON shows it; before_s, after_s: of an epoch, medians, None where there was
    no slowing or no epoch that began settled_s behind it.
    """
    seconds = [epoch.seconds for epoch in trained.epochs]
    before = after = None
    if watch.slowed_at is not None:
        count = sum(end <= watch.slowed_at for end in watch.ends)
        late = [
            taken
            for begin, taken in zip(watch.ends[:-1], seconds[1:], strict=True)
            if begin >= watch.slowed_at + settled_s
        ]
        before = Spread.of(seconds[1:count] or seconds[:count]).median
        after = Spread.of(late).median if late else None
    return {
        "epochs": [[each.seconds, each.test_metrics["accuracy"]] for each in trained.epochs],
        "before_s": before,
        "after_s": after,
        "times": after / before if before and after else None,
        "skipped": sum(trained.num_train - epoch.num_samples for epoch in trained.epochs),
        "moves": [move.to_dict() for move in trained.moves],
        "accuracy": trained.epochs[-1].test_metrics["accuracy"],
    }


@click.command("workloads.balance")
@benchmark_options
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), help="Of a core, for each.")
@click.option("--width", type=click.IntRange(min=1), default=512, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=128, show_default=True)
@click.option("--epochs", type=click.IntRange(min=2), default=30, show_default=True)
@click.option("--after", type=click.IntRange(min=1), default=8, show_default=True, help="Epochs.")
@click.option("--fixed-epochs", type=click.IntRange(min=2), default=19, show_default=True)
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path))
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    share: float | None,
    width: int,
    batch_size: int,
    epochs: int,
    after: int,
    fixed_epochs: int,
    data_dir: Path | None,
) -> None:
    """Seconds per epoch when one worker of four becomes four times slower, with moves or not."""
    measuring = Measuring.of(json_path, repeats, quick)
    if quick:
        width, epochs, after, fixed_epochs = 32, 3, 1, 2
    share = share or share_of(available_cores(), WORKERS)
    console, observation = make_console(), Observation()
    lengths = {UNDISTURBED: epochs, FIXED: fixed_epochs, MOVING: epochs}
    rounds: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="dni-bench-") as folder,
        shares(WORKERS, share) as cores,
    ):
        config = _config(Path(folder), data_dir, width, batch_size)
        hashes = _hashes(config)
        for number in range(measuring.repeats):
            done = {
                arm: _run(
                    replace(config, epochs=lengths[arm], seed=number),
                    cores,
                    share,
                    0 if arm == UNDISTURBED else after,
                    is_moving=arm == MOVING,
                    settled_s=0.0 if quick else SETTLED_S,
                )
                for arm in rotated(tuple(lengths), number)
            }
            rounds.append({arm: done[arm] for arm in lengths})
            facts = observation.facts()
            asked: dict[str, Any] = {"repeats": measuring.repeats, "quick": quick, "share": share}
            asked |= {"width": width, "batch_size": batch_size, "lengths": lengths, "after": after}
            asked |= {"workers": WORKERS, "layers": LAYERS, "data": digits_of(data_dir)}
            write(measuring.json, "balance", facts, asked, {"rounds": rounds, "hashes": hashes})
    _print(console, rounds, hashes)
    print_facts(console, facts)


def _config(folder: Path, data_dir: Path | None, width: int, batch_size: int) -> RunConfig:
    """Sixteen layers that all cost the same, and the classes' behind them."""
    path = folder / "samples.npz"
    write_samples(
        path,
        digits_of(data_dir),
        data_dir,
        max_samples=0,
        batch_size=batch_size,
        num_features=width,
    )
    return RunConfig(
        data=str(path),
        layers=LAYERS + 1,
        width=width,
        batch_size=batch_size,
        stages=WORKERS,
        partition="even",
        lr_schedule="cosine",
        epochs=1,
        threads_per_worker=1,
        devices=("cpu",),
        baseline=False,
    )


def _run(
    config: RunConfig,
    groups: Sequence[Path],
    share: float,
    after: int,
    *,
    is_moving: bool,
    settled_s: float,
) -> dict[str, Any]:
    watch = Slowing(Console(quiet=True), groups, share, after)
    config = replace(config, rebalance="on" if is_moving else "off")
    return told_of(train_arm("dni", config, watch), watch, settled_s)


def _hashes(config: RunConfig) -> dict[str, Any]:
    """Of what a lockstep run has learnt, by layer, with a move in its middle and without.

    different: the tensors that are not the same to the bit.
    """
    lockstep = replace(config, rule="backprop", seed=0)
    moved, num_moves = _weights(replace(lockstep, moves=(MOVE,)))
    plain, _ = _weights(lockstep)
    different = sorted(name for name in plain if moved.get(name) != plain[name])
    return {"move": MOVE, "moves": num_moves, "compared": len(plain), "different": different}


def _weights(config: RunConfig) -> tuple[dict[str, str], int]:
    """A sum of each tensor that its stages left, by name; and how often layers moved."""
    found: dict[str, str] = {}

    def look(folder: RunFolder) -> None:
        for stage in range(WORKERS):
            for name, tensor in load_file(folder.stage_weights(stage)).items():
                found[name] = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()

    trained = train_arm("dni", config, look=look)
    return found, len(trained.moves)


def _print(
    console: Console, rounds: Sequence[Mapping[str, Any]], hashes: Mapping[str, Any]
) -> None:
    names = ["run", "s/epoch before", "after", "times", "least", "most", "skipped", "accuracy"]
    made = table(f"{LAYERS} layers in {WORKERS} workers, one made {TIMES} times slower", names)
    for arm in rounds[0]:
        runs = [each[arm] for each in rounds]
        made.add_row(
            arm,
            *(_median(run[name] for run in runs) for name in ("before_s", "after_s", "times")),
            *(_figure(end, [run["times"] for run in runs]) for end in (min, max)),
            str(sum(run["skipped"] for run in runs)),
            f"{Spread.of([run['accuracy'] for run in runs]).median:.2%}",
        )
    console.print(made)
    for line in _judged(rounds, hashes):
        console.print(line, highlight=False, soft_wrap=True)


def _judged(rounds: Sequence[Mapping[str, Any]], hashes: Mapping[str, Any]) -> list[str]:
    """What was to be reached, and whether it was."""
    runs = [each[MOVING] for each in rounds]
    times = [run["times"] for run in runs if run["times"] is not None]
    stood = [move["stood_still_seconds"] or 0.0 for run in runs for move in run["moves"]]
    apart = [each[MOVING]["accuracy"] - each[UNDISTURBED]["accuracy"] for each in rounds]
    by_seed = ", ".join(f"{100 * each:+.2f}" for each in apart)
    different = f"{len(hashes['different'])} of {hashes['compared']} tensors"
    is_same = hashes["moves"] == 1 and not hashes["different"]
    told = (
        (
            len(times) == len(runs) and Spread.of(times).median <= TARGET,
            f"an epoch takes {_median(times)} times as long, {TARGET} at most",
        ),
        (
            bool(stood) and max(stood) <= MOST_STALL_S,
            f"the line stood still for {max(stood, default=0.0):.2f} s at most, {len(stood)} moves",
        ),
        (not sum(run["skipped"] for run in runs), "no sample is skipped"),
        (is_same, f"{different} differ between lockstep runs with a move and without"),
        (
            sum(apart) / len(apart) >= -SLACK,
            f"points of accuracy against undisturbed, by seed: {by_seed}",
        ),
    )
    return [f"{'met' if is_met else 'MISSED'}: {text}" for is_met, text in told]


def _median(values: Any) -> str:
    return _figure(None, list(values))


def _figure(end: Any, values: Sequence[float | None]) -> str:
    """The median, or what end takes of them; a dash where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{Spread.of(known).median if end is None else end(known):.2f}"


if __name__ == "__main__":
    enter(main)
