"""What is measured on GPUs, in which order, and what is left out when time is short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

__all__ = ["GUESS_S", "Arm", "Network", "Timetable", "arms_of", "networks", "planned"]

GUESS_S = 40.0  # of the first run of an arm: processes, CUDA, a compiler
LEAST_S = 5.0
ORDER = (1024, 8192, 2048, 4096)  # the ends tell most


@dataclass(frozen=True, slots=True)
class Network:
    """Layers of width by width, in dtype (fp32, bf16)."""

    width: int
    dtype: str

    @property
    def num_batches(self) -> int:
        """Of an epoch: fewer where each takes longer."""
        return min(128, max(32, 131072 // self.width))


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train a network. devices: of its stages; num_stages 1 is the baseline."""

    name: str
    devices: tuple[str, ...]
    num_stages: int
    has_graphs: bool


def networks(widths: Sequence[int], dtypes: Sequence[str]) -> list[Network]:
    """All of them, those first that tell most."""
    ranked = sorted(widths, key=lambda width: ORDER.index(width) if width in ORDER else len(ORDER))
    return [Network(width, dtype) for width, dtype in product(ranked, dtypes)]


def arms_of(num_devices: int, num_stages: int) -> list[Arm]:
    """The baseline with CUDA graphs, then ours with and without, on one device and over all."""
    baseline = Arm("baseline, graphs", ("cuda:0",), 1, has_graphs=True)
    places: list[tuple[str, tuple[str, ...]]] = [("one device", ("cuda:0",))]
    if num_devices > 1:
        used = min(num_devices, num_stages)
        places.append((f"{used} devices", tuple(f"cuda:{index}" for index in range(used))))
    ours = [
        Arm(f"dni, {place}{', graphs' if has_graphs else ''}", devices, num_stages, has_graphs)
        for place, devices in places
        for has_graphs in (True, False)
    ]
    return [baseline, *ours]


def planned(
    measured: Sequence[Network], arms: Sequence[Arm], repeats: int
) -> Iterator[tuple[int, Network, Arm]]:
    """Round, network, arm: all arms of a network one after the other, each round from the next."""
    for number in range(repeats):
        start = number % len(arms)
        for network in measured:
            for arm in (*arms[start:], *arms[:start]):
                yield number, network, arm


@dataclass(slots=True)
class Timetable:
    """Seconds that are left, and what each run is going to take.

    budget_s: for all. left_out: runs that were not begun, as people read them.
    """

    budget_s: float
    spent_s: float = 0.0
    left_out: list[str] = field(default_factory=list)
    _took: dict[tuple[str, Network], float] = field(default_factory=dict)
    _longest: dict[str, float] = field(default_factory=dict)

    def admits(self, number: int, network: Network, arm: Arm) -> bool:
        """Whether there is time for it; where there is not, it is left out."""
        if self.spent_s + self.expected_s(network, arm) <= self.budget_s:
            return True
        self.left_out.append(f"{network.width} {network.dtype}, {arm.name}, round {number + 1}")
        return False

    def expected_s(self, network: Network, arm: Arm) -> float:
        """As long as before; of another network as long as the longest of that arm."""
        known = self._took.get((arm.name, network)) or self._longest.get(arm.name)
        return GUESS_S if known is None else max(LEAST_S, known)

    def took(self, network: Network, arm: Arm, seconds: float) -> None:
        """It has taken so long."""
        self.spent_s += seconds
        self._took[arm.name, network] = seconds
        self._longest[arm.name] = max(seconds, self._longest.get(arm.name, 0.0))
