"""All that a worker measures itself by while it works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dni_async.files import names
from dni_async.stage.losses.metrics.examination import make_examination
from dni_async.transport.interface import ControlChannel
from dni_async.workers.reporting.epochs import Epochs
from dni_async.workers.reporting.points import StageCurve
from dni_async.workers.reporting.spans import KeptSpans, Spans
from dni_async.workers.reporting.tally import Tally
from dni_async.workers.reporting.telling import Telling
from dni_async.workers.reporting.torch_profile import TorchProfile
from dni_async.workers.startup.equipment import Equipment
from dni_async.workers.startup.seat import Seat

__all__ = ["Instruments", "make_instruments", "profile_path", "torch_profile_path"]


@dataclass(frozen=True, slots=True)
class Instruments:
    """epochs: times and sums them. tally: counts. spans: with --profile, what was done when.

    torch_profile: with --torch-profiler, at the stage that was named.
    """

    epochs: Epochs
    tally: Tally
    spans: Spans
    torch_profile: TorchProfile | None


def make_instruments(seat: Seat, equipment: Equipment, control: ControlChannel) -> Instruments:
    """Those that the run asks for. Raises ConfigError for a metric that cannot be made."""
    profiles = seat.config.torch_profiler == seat.stage
    examination = None
    if seat.outbox is None:
        examination = make_examination(seat.config, equipment.stage.loss)
    tally = Tally()
    curve = StageCurve(seat, equipment, tally)
    return Instruments(
        epochs=Epochs(
            seat,
            Telling(seat, control),
            equipment.boundary,
            examination,
            curve,
            tally,
            drains=equipment.machine.drains,
        ),
        tally=tally,
        spans=_spans(seat, equipment) if seat.config.profile else Spans(),
        torch_profile=TorchProfile(torch_profile_path(seat)) if profiles else None,
    )


def _spans(seat: Seat, equipment: Equipment) -> Spans:
    """The dashboard sees them as they come where it sees the worker's files."""
    is_seen = seat.config.dashboard and seat.courier is None and seat.welcome.profile_folder
    told = Path(seat.welcome.profile_folder) / names.told_spans(seat.stage)
    return KeptSpans(equipment, told=told if is_seen else None)


def profile_path(seat: Seat) -> Path:
    """Where the worker leaves its spans."""
    return Path(seat.welcome.profile_folder) / names.spans(seat.stage)


def torch_profile_path(seat: Seat) -> Path:
    """Where the worker leaves torch's profile."""
    return Path(seat.welcome.profile_folder) / names.torch_profile(seat.stage)
