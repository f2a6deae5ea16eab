"""Replays what the workers of a run recorded, and says whether they would decide the same now."""

from __future__ import annotations

from pathlib import Path

from dni_async.config.assembly import make_recorded_machine
from dni_async.decisions.event_log import Divergence, replay
from dni_async.errors import ConfigError
from dni_async.files import names

__all__ = ["replay_run"]


def replay_run(run_dir: Path) -> dict[str, tuple[int, Divergence | None]]:
    """By file: how many events were replayed, and the first that led to something else.

    Raises ConfigError when nothing was recorded, or what there is cannot be read.
    """
    paths = sorted(
        (run_dir / names.EVENTS).glob(names.events("*")), key=lambda path: (len(path.name), path)
    )
    if not paths:
        raise ConfigError(f"replay: {run_dir} holds no events; a run with --record-events does")
    return {path.stem: _replay(path) for path in paths}


def _replay(path: Path) -> tuple[int, Divergence | None]:
    try:
        with path.open(encoding="utf-8") as lines:
            return replay(lines, make_recorded_machine)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"replay: {path}: cannot be read: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"replay: {path}: {error}") from None
