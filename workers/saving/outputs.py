"""The files that a worker leaves at its end: weights and profiles."""

from __future__ import annotations

from pathlib import Path

from dni_async.files.elsewhere import found, write_somewhere
from dni_async.stage.stage import Stage
from dni_async.system import output
from dni_async.workers.reporting.event_recorder import events_path
from dni_async.workers.reporting.instruments import Instruments, profile_path, torch_profile_path
from dni_async.workers.saving.stage_state import save_weights
from dni_async.workers.startup.file_courier import FileCourier
from dni_async.workers.startup.seat import Seat

__all__ = ["send_outputs", "write_profiles", "write_weights"]


def write_weights(path: Path, stage: Stage) -> None:
    """Write the stage's weights, whole or not at all; elsewhere, if the place does not take them.

    Where nothing does, that is in the log, and the launcher finds none.
    """
    try:
        write_somewhere(path, lambda part: save_weights(stage, part))
    except OSError as error:
        output.complain(f"the weights cannot be written to {path}: {error.strerror or error}")


def write_profiles(seat: Seat, instruments: Instruments) -> None:
    """Write what was recorded, if anything was asked for and there is a place for it."""
    if not seat.welcome.profile_folder:
        return
    device = seat.welcome.device
    try:
        instruments.spans.write(profile_path(seat), stage=seat.stage, device=device)
        if instruments.torch_profile is not None:
            instruments.torch_profile.finish()
    except OSError as error:
        output.complain(f"the profile cannot be written: {error.strerror or error}")


def send_outputs(seat: Seat, courier: FileCourier) -> None:
    """Have sent what was left in files that the coordinator cannot see."""
    courier.send("weights", found(Path(seat.welcome.weights_path)))
    courier.send("profile", profile_path(seat))
    courier.send("torch-profile", torch_profile_path(seat))
    courier.send("events", events_path(seat))
