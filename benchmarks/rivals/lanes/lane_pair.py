"""Two processes with a lane between them, and what crossing it takes."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from benchmarks.harness.team import Team
from benchmarks.rivals.lanes.lane_end import WARM_UP
from dni_async.transport.rings import make_rings, told_ring

__all__ = ["LANES", "Crossing", "LanePair"]

LANES = (
    "link-slots",
    "link-ipc",
    "link-tcp",
    "raw-ipc",
    "raw-tcp",
    "raw-tcp-parts",
    "unix-socket",
    "gloo",
    "memcpy",
)

Kind = Literal["bandwidth", "latency"]


@dataclass(frozen=True, slots=True)
class Crossing:
    """One measurement. Seconds, per message where they are the processes'.

    seconds: of all num_messages in a stream. round_trips: of each message sent alone, up to its
    credit. shared: the tensors lay in memory that both processes map.
    """

    size_bytes: int
    num_messages: int
    seconds: float
    round_trips: list[float]
    lower_cpu_s: float
    upper_cpu_s: float
    shared: bool

    @property
    def bytes_per_s(self) -> float:
        """One way."""
        return self.size_bytes * self.num_messages / self.seconds

    @property
    def message_s(self) -> float:
        """Between one message and the next in a stream."""
        return self.seconds / self.num_messages


class LanePair:
    """A lower and an upper process, which measure one lane after another."""

    def __init__(self, *, window: int = 4, reads: bool = False) -> None:
        self._team = Team("benchmarks.rivals.lanes.lane_end", 2)
        self._window = window
        self._reads = reads
        self._num_measured = 0
        self._in_group = False
        self._ring = told_ring(make_rings()[1])

    def __enter__(self) -> LanePair:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._team.close(at_once=kind is not None)

    def measure(
        self, lane: str, kind: Kind, size_bytes: int, num_messages: int, *, pause_s: float = 0.0
    ) -> Crossing:
        """Send num_messages tensors of float32, after a warm-up. Raises MemberDied.

        pause_s: before each message of a latency measurement, so that both ends are asleep.
        """
        if lane == "gloo" and not self._in_group:
            self._join_group()
        task = {
            "lane": lane,
            "address": str(self._team.folder / f"lane-{self._num_measured}"),
            "size_bytes": size_bytes,
            "window": self._window,
            "num_messages": num_messages + WARM_UP * self._window,
            "ring": self._ring,
        }
        self._num_measured += 1
        upper = {"cpu_s": 0.0}
        if lane != "memcpy":
            self._team.tell(1, {"task": task, "reads": self._reads})
            task.update(self._team.hear(1))
        self._team.tell(0, {"task": task, "kind": kind, "pause_s": pause_s})
        lower = self._team.hear(0)
        if lane != "memcpy":
            upper = self._team.hear(1)
        return _crossing(size_bytes, num_messages, lower, upper)

    def _join_group(self) -> None:
        store = str(self._team.folder / "gloo")
        self._team.tell_all([{"store": store}] * 2)
        for member in (0, 1):
            self._team.hear(member)
        self._in_group = True


def _crossing(
    size_bytes: int, num_messages: int, lower: dict[str, Any], upper: dict[str, Any]
) -> Crossing:
    return Crossing(
        size_bytes=size_bytes,
        num_messages=num_messages,
        seconds=lower.get("seconds", 0.0),
        round_trips=lower.get("round_trips", []),
        lower_cpu_s=lower["cpu_s"],
        upper_cpu_s=upper["cpu_s"],
        shared=lower.get("shared", False),
    )
