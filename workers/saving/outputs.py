"""The files that a worker leaves at its end: weights and profiles."""

from __future__ import annotations

import os
from pathlib import Path

from dni_async.files.writing import whole
from dni_async.stage.stage import Stage
from dni_async.workers.reporting.event_recorder import events_path
from dni_async.workers.reporting.instruments import Instruments, profile_path, torch_profile_path
from dni_async.workers.saving.stage_state import save_weights
from dni_async.workers.startup.file_courier import FileCourier
from dni_async.workers.startup.seat import Seat

__all__ = ["send_outputs", "write_profiles", "write_weights"]


def write_weights(path: Path, stage: Stage) -> None:
    """Write the stage's weights, whole or not at all."""
    with whole(path, writer=str(os.getpid())) as part:
        save_weights(stage, part)


def write_profiles(seat: Seat, instruments: Instruments) -> None:
    """Write what was recorded, if anything was asked for and there is a place for it."""
    if not seat.welcome.profile_folder:
        return
    device = seat.welcome.device
    instruments.spans.write(profile_path(seat), stage=seat.stage, device=device)
    if instruments.torch_profile is not None:
        instruments.torch_profile.finish()


def send_outputs(seat: Seat, courier: FileCourier) -> None:
    """Have sent what was left in files that the coordinator cannot see."""
    courier.send("weights", Path(seat.welcome.weights_path))
    courier.send("profile", profile_path(seat))
    courier.send("torch-profile", torch_profile_path(seat))
    courier.send("events", events_path(seat))
