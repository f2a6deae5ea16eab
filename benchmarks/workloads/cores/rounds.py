"""Rounds over all arms on so many shares of a core, and the ratios of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.facts import Spread
from benchmarks.harness.report import rotated
from benchmarks.harness.shares import shares
from benchmarks.rivals.held import ONE_CORE, OURS, HeldRun, train_held
from benchmarks.workloads.cores.cases import Case
from dni_async.errors import DniError

__all__ = [
    "SLACK",
    "Bench",
    "Cell",
    "Chosen",
    "Parts",
    "Run",
    "bench",
    "measure_round",
    "one_core_batch_s",
    "seconds_to_goal",
]

Run = Mapping[str, Any]
"""A HeldRun as the JSON shows it."""
Parts = Mapping[str, Any]
"""What stages and links take by themselves, as the JSON shows it."""
SLACK = 0.005  # of accuracy: half a point
EPOCHS = 2  # the first one warms up


@dataclass(frozen=True, slots=True)
class Chosen:
    """How the rivals do best here: microbatches of 1f1b, what threads with nothing to do do."""

    microbatches: int
    waiting: str


@dataclass(slots=True)
class Cell:
    """A case on shares of a core: its rounds, each with a run of every arm that did not fail.

    batches: of an epoch of ours; rivals have as many as take about as long.
    """

    case: Case
    share: float
    batches: int
    chosen: Chosen | None = None
    rounds: list[dict[str, Run]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    learnt: list[dict[str, Any]] = field(default_factory=list)
    parts: list[Parts] = field(default_factory=list)  # of the simulation, by round
    foretold: dict[str, Any] | None = None

    def batches_of(self, arm: str) -> int:
        """Of an epoch of arm."""
        fewest = min(self.batches, 6)
        return self.batches if arm == OURS else max(fewest, self.batches // self.case.num_cores)

    @property
    def arms(self) -> list[str]:
        """Those with a run in every round."""
        names = dict.fromkeys(name for each in self.rounds for name in each)
        return [name for name in names if all(name in each for each in self.rounds)]

    def rate(self, arm: str) -> Spread:
        """Samples per second of each round."""
        return Spread.of([each[arm]["samples_per_second"] for each in self.rounds])

    def over(self, arm: str) -> Spread | None:
        """Ours over arm, of the rounds in which the machine let both have their shares; or None."""
        told = [
            each[OURS]["samples_per_second"] / each[arm]["samples_per_second"]
            for each in self.rounds
            if not each[OURS]["not_comparable"] and not each[arm]["not_comparable"]
        ]
        return Spread.of(told) if told else None

    def why_not(self, arm: str) -> str:
        """Why there is no ratio of ours to arm."""
        reasons = (each[name]["not_comparable"] for each in self.rounds for name in (OURS, arm))
        return next((reason for reason in reasons if reason), "")

    def seconds(self, arm: str) -> list[float | None]:
        """To quality, by seed; see seconds_to_goal."""
        rate = self.rate(arm).median
        return [seconds_to_goal(rate, each, is_ours=arm == OURS) for each in self.learnt]

    def accuracy(self, arm: str) -> list[float]:
        """In the end, by seed."""
        name = "dni" if arm == OURS else "backprop"
        return [each[name][-1][2] for each in self.learnt]

    def to_dict(self) -> dict[str, Any]:
        """As the JSON shows it."""
        factors = {arm: self.over(arm) for arm in self.arms if OURS in self.arms and arm != OURS}
        return {
            "network": self.case.network,
            "name": self.case.name,
            "cores": self.case.num_cores,
            "share": self.share,
            "batches": self.batches,
            "chosen": None
            if self.chosen is None
            else {"microbatches": self.chosen.microbatches, "waiting": self.chosen.waiting},
            "arms": {
                arm: {
                    "samples_per_second": self.rate(arm).to_dict(),
                    "dni_over_it": told.to_dict() if (told := factors.get(arm)) else None,
                    "seconds_to_quality": self.seconds(arm),
                    "accuracy": self.accuracy(arm),
                }
                for arm in self.arms
            },
            "failed": self.failed,
            "rounds": self.rounds,
            "learnt": self.learnt,
            "parts": self.parts,
            "foretold": self.foretold,
        }

    def take(self, told: Mapping[str, Any]) -> None:
        """What an earlier call measured of the same, as to_dict tells it."""
        chosen = told["chosen"]
        self.chosen = None if chosen is None else Chosen(**chosen)
        self.rounds, self.failed = list(told["rounds"]), dict(told["failed"])
        self.parts = list(told.get("parts", []))
        self.learnt, self.foretold = list(told["learnt"]), told["foretold"]


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a cell is measured: the shares of a core, the data, who is told."""

    cell: Cell
    groups: Sequence[Path]
    folder: Path
    note: Callable[[str], None]

    def train(self, arm: str, chosen: Chosen, batches: int, seed: int = 0) -> HeldRun:
        """One run of arm. Raises DniError."""
        path = self.folder / f"{batches}.npz"
        if not path.exists():
            self.cell.case.write(path, batches)
        config = self.cell.case.config(path, epochs=EPOCHS, seed=seed, plain=arm != OURS)
        return train_held(
            arm,
            config,
            self.groups,
            microbatches=chosen.microbatches,
            waiting=chosen.waiting,
        )


@contextmanager
def bench(cell: Cell, folder: Path, note: Callable[[str], None]) -> Iterator[Bench]:
    """With shares of a core as long as the block lasts. Raises ConfigError."""
    with shares(cell.case.num_cores, cell.share) as groups:
        yield Bench(cell, groups, folder, note)


def measure_round(place: Bench, arms: Sequence[str]) -> None:
    """Every arm once, beginning with the next one each time.

    An arm that fails is left out from then on, and said so.
    """
    cell = place.cell
    cell.chosen = cell.chosen or _choose(place, arms)
    done: dict[str, Run] = {}
    for arm in rotated(arms, len(cell.rounds)):
        if arm in cell.failed:
            continue
        try:
            done[arm] = place.train(arm, cell.chosen, cell.batches_of(arm)).to_dict()
        except DniError as error:
            cell.failed[arm] = str(error).strip().splitlines()[-1]
            place.note(f"  {arm} failed and is left out: {cell.failed[arm]}")
    cell.rounds.append({arm: done[arm] for arm in arms if arm in done})


def _choose(place: Bench, arms: Sequence[str]) -> Chosen:
    """Each rival that can be run in several ways is tried in all of them, for a few batches."""
    size, num_cores = place.cell.case.size, place.cell.case.num_cores
    best = Chosen(_divisor(size, max(8, num_cores)), "sleep")
    if "1f1b" in arms and num_cores > 1:
        ways = sorted({_divisor(size, count) for count in (num_cores, 8)})
        found = _fastest(place, "1f1b", [Chosen(count, "sleep") for count in ways])
        best = found or best
    if "all-cores" in arms and num_cores > 1:
        both = [Chosen(best.microbatches, waiting) for waiting in ("sleep", "spin")]
        best = _fastest(place, "all-cores", both) or best
    told = {
        "1f1b": f"{best.microbatches} microbatches",
        "all-cores": f"threads that {best.waiting}",
    }
    tried = [f"{arm} with {way}" for arm, way in told.items() if arm in arms and num_cores > 1]
    if tried:
        place.note(f"  best: {', '.join(tried)}")
    return best


def _fastest(place: Bench, arm: str, ways: Sequence[Chosen]) -> Chosen | None:
    if len(ways) == 1:
        return ways[0]
    batches = max(4, place.cell.batches_of(arm) // 2)
    rates: dict[Chosen, float] = {}
    try:
        for way in ways:
            rates[way] = place.train(arm, way, batches).samples_per_second
    except DniError:
        return None  # the rounds say so
    return max(rates, key=rates.__getitem__)


def _divisor(size: int, most: int) -> int:
    return next(count for count in range(min(most, size), 0, -1) if size % count == 0)


def one_core_batch_s(cell: Cell) -> float | None:
    """Seconds that one share of a core takes for a batch, where that was measured."""
    return cell.case.size / cell.rate(ONE_CORE).median if ONE_CORE in cell.arms else None


def seconds_to_goal(rate: float, learnt: Mapping[str, Any], *, is_ours: bool) -> float | None:
    """Training seconds until what backpropagation comes to in the end, less SLACK, is reached.

    rate: samples per second; is_ours: of ours, else of a rival, which learns as backpropagation.
    None where it is not reached.
    """
    goal = learnt["backprop"][-1][2] - SLACK
    for number, epoch in enumerate(learnt["dni" if is_ours else "backprop"], 1):
        if epoch[2] >= goal:
            return float(number * learnt["num_samples"] / rate)
    return None
