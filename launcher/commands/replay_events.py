"""Replays what a run recorded, and says whether its stages and its launcher decide the same now."""

from __future__ import annotations

from pathlib import Path

from dni_async.config.assembly import make_recorded_machine
from dni_async.decisions import event_log
from dni_async.decisions.event_lines import Divergence
from dni_async.errors import ConfigError
from dni_async.files import names
from dni_async.launcher.decisions import run_log

__all__ = ["replay_run"]


def replay_run(run_dir: Path) -> dict[str, tuple[int, Divergence | None]]:
    """By file: how many events were replayed, and the first that led to something else.

    Raises ConfigError when nothing was recorded, or what there is cannot be read.
    """
    folder = run_dir / names.EVENTS
    paths = sorted(folder.glob(names.events("*")), key=lambda path: (len(path.name), path))
    paths += folder.glob(names.RUN_EVENTS)
    if not paths:
        raise ConfigError(f"replay: {run_dir} holds no events; a run with --record-events does")
    return {path.stem: _replay(path) for path in paths}


def _replay(path: Path) -> tuple[int, Divergence | None]:
    try:
        with path.open(encoding="utf-8") as lines:
            if path.name == names.RUN_EVENTS:
                return run_log.replay(lines)
            return event_log.replay(lines, make_recorded_machine)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"replay: {path}: cannot be read: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"replay: {path}: {error}") from None
