"""What is heard of a run while it goes on: the base of the display and of all who watch it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dni_async.launcher.report.curves import CurvePoint
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult
from dni_async.wire.messages import Progress

if TYPE_CHECKING:
    from dni_async.launcher.plan.plan import Plan

__all__ = ["Watcher"]


class Watcher:
    """Hears, in the launcher's thread, what it has methods of its own for; else nothing is done.

    One that raises OSError is left out from then on, and costs the run nothing, unless it
    is_essential; whatever else it raises ends the run.
    """

    is_essential = False
    title = ""  # what the user calls it, where that is not its class's name

    def lay_out(self, plan: Plan) -> None:
        """What is to be trained, and by whom."""

    def begin(self, run: RunResult) -> None:
        """A network is trained from now on; run fills as it goes."""

    def started(self, startup_s: float, pids: Mapping[int, int]) -> None:
        """All workers of the decoupled run have begun. pids: by stage."""

    def progress(self, progress: Progress) -> None:
        """A worker's counters."""

    def point(self, run: RunResult, point: CurvePoint) -> None:
        """The next point of a curve within an epoch; a few times a second, several at once."""

    def trained(self, run: RunResult, num_batches: int) -> None:
        """A baseline has trained so many batches of its run; a few times a second."""

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """An epoch that has ended; it stands in run already, and so do its boundaries."""

    def died(self, restart: RestartResult) -> None:
        """The worker of a stage is gone, and is to be replaced."""

    def recovered(self, restart: RestartResult) -> None:
        """The worker that replaces it has made its first update."""

    def end(self, report: Mapping[str, Any]) -> None:
        """The run is over; how, its report says."""
