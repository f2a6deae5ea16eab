"""What there is of a run without a report: one that is under way, or whose launcher was killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from dni_async.config.run_config import read_toml
from dni_async.config.settings import SETTINGS
from dni_async.errors import ConfigError
from dni_async.files import names
from dni_async.wire.foreign_text import harmless, parsed

__all__ = ["said_of_unreported"]

TAIL_BYTES: Final = 2**20  # of its metrics: the last epoch stands there


def said_of_unreported(folder: Path) -> str:
    """In a sentence: whether it goes on, how far it is, and what one can do.

    Never raises for what the folder holds, whoever made it.
    """
    told = _how_far(folder)
    if _is_worked_in(folder):
        return (
            f"{folder}: this run is under way: {told}; {names.REPORT} is written when it ends, and "
            "--dashboard shows a run while it goes on"
        )
    has_checkpoint = any((folder / names.CHECKPOINTS).glob(f"*/{names.MANIFEST}"))
    way = (
        f"dni-launch --resume {folder} goes on from its newest checkpoint"
        if has_checkpoint
        else "it has no checkpoint to go on from; --checkpoint-every makes them"
    )
    return (
        f"{folder}: this run has no report, so its launcher, or its machine, was ended before it "
        f"could write {names.REPORT}: {told}; {way}"
    )


def _is_worked_in(folder: Path) -> bool:
    """Whether a launcher holds the folder, or workers that are about to leave it."""
    try:
        held = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(held)  # and with it the lock
    return False


def _how_far(folder: Path) -> str:
    asked = _epochs(folder)
    last = next(_epoch_lines(folder), None)
    if last is None:
        return f"no epoch of {asked} has been told yet"
    figures = [f"training loss {last['train_loss']:.4g}"] if _is_number(last, "train_loss") else []
    metrics = last.get("test_metrics")
    if isinstance(metrics, dict):
        figures += [
            f"test {name} {metrics[name]:.4g}" for name in metrics if _is_number(metrics, name)
        ]
    came_to = f", which came to {' and '.join(figures[:3])}" if figures else ""
    return f"the last of {asked} that was told is epoch {last['epoch']}{came_to}"


def _epochs(folder: Path) -> str:
    """How many it was to have, as far as its settings tell."""
    epochs = None
    with suppress(ConfigError, OSError):
        epochs = harmless(read_toml(folder / names.CONFIG)).get(
            "epochs", SETTINGS["epochs"].default
        )
    return f"{epochs} epochs" if isinstance(epochs, int) else "its epochs"


def _epoch_lines(folder: Path) -> Iterator[Mapping[str, Any]]:
    """What the metrics tell of epochs of the run itself, the last first."""
    path = folder / names.METRICS
    if not path.is_file():  # a pipe would be waited for
        return
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).splitlines()
    except OSError:
        return
    for line in reversed(lines):
        try:
            told = parsed(line)
        except (ValueError, RecursionError):
            continue  # cut off, or not ours
        is_epoch = isinstance(told, dict) and type(told.get("epoch")) is int and "seconds" in told
        if is_epoch and not str(told.get("run", "")).startswith("baseline"):
            yield told


def _is_number(told: Mapping[str, Any], name: str) -> bool:
    value = told.get(name)
    return isinstance(value, int | float) and abs(value) < 2**63
