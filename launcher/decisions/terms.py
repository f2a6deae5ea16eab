"""What the run's machine is told of a run before anything has happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["RunTerms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTerms:
    """A run's plan as far as decisions need it; plain values, which a recording begins with.

    rule_forbids: why the rule lets no worker be replaced, as half a sentence; "" where it does.
    devices: what each stage computes on, and places: "local" or "remote", by stage. may_be_near:
    workers in the same place talk by what they share; else over tcp too. actors: a cluster places
    the remote workers. num_threads: of a local worker; asked_threads: as the user asked for, 0
    where not. num_test_labels: how many are scored after an epoch. ends_at: the accuracy at which
    the run ends early, None where it does not. last_epoch: the last one that a resumed run has
    behind it, 0 without. is_resumed: its stages have made updates before. logs: the folder of the
    logs, as the user is told of it.
    """

    run_id: str
    rule: str
    rule_forbids: str = ""
    is_unlocked: bool = False
    devices: Sequence[str]
    places: Sequence[str]
    may_be_near: bool = True
    actors: bool = False
    num_threads: int = 1
    asked_threads: int = 0
    epochs: int
    evaluate_every: int = 1
    num_test_labels: int
    ends_at: float | None = None
    last_epoch: int = 0
    is_resumed: bool = False
    max_restarts: int
    start_timeout_s: float
    join_timeout_s: float
    silent_after_s: float
    stuck_after_s: float
    logs: str

    @property
    def num_stages(self) -> int:
        """One worker each."""
        return len(self.devices)

    def is_remote(self, stage: int) -> bool:
        """Whether the stage's worker joins from elsewhere."""
        return self.places[stage] == "remote"

    def tested_at(self, epoch: int) -> int:
        """The end of which epoch the network is tested at next, when this one is trained."""
        return min(self.epochs, -(-epoch // self.evaluate_every) * self.evaluate_every)

    def join_s(self, stage: int) -> float:
        """How long it may take until somebody joins for stage."""
        return self.join_timeout_s if self.is_remote(stage) else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)
