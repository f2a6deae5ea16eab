"""Replays what a run recorded, and says whether its stages and its launcher decide the same now."""

from __future__ import annotations

from pathlib import Path

from dni_async.config.assembly import make_recorded_machine
from dni_async.config.extensions import is_extension
from dni_async.config.run_config import read_toml
from dni_async.decisions import event_log
from dni_async.decisions.event_lines import Divergence
from dni_async.decisions.machines.machine import StageMachine
from dni_async.errors import ConfigError
from dni_async.files import names
from dni_async.files.reading import open_regular
from dni_async.launcher.decisions import run_log
from dni_async.launcher.run_folder.trust import check_owner

__all__ = ["replay_run"]


def replay_run(run_dir: Path) -> dict[str, tuple[int, Divergence | None]]:
    """By file: how many events were replayed, and the first that led to something else.

    Raises ConfigError when nothing was recorded, or what there is cannot be read, or is another
    user's: rules of a user's own are imported, by the names that the events have for them.
    """
    check_owner(run_dir, "a replay runs the code that its events name")
    folder = run_dir / names.EVENTS
    paths = sorted(folder.glob(names.events("*")), key=lambda path: (len(path.name), path))
    paths += folder.glob(names.RUN_EVENTS)
    if not paths:
        raise ConfigError(f"replay: {run_dir} holds no events; a run with --record-events does")
    rule = _rule_of(run_dir)
    return {path.stem: _replay(path, rule) for path in paths}


def _rule_of(run_dir: Path) -> str:
    """By what the run's settings say; a worker from elsewhere may have written its events."""
    path = run_dir / names.CONFIG
    return str(read_toml(path).get("rule", "")) if path.is_file() else ""


def _replay(path: Path, rule: str) -> tuple[int, Divergence | None]:
    def make(header: event_log.Header) -> StageMachine:
        named = str(header.config.get("rule", ""))
        if is_extension(named) and named != rule:
            raise ConfigError(f"its rule {named} is not the run's, and is not run")
        return make_recorded_machine(header)

    try:
        with open_regular(path) as file:
            lines = (line.decode() for line in file)
            if path.name == names.RUN_EVENTS:
                return run_log.replay(lines)
            return event_log.replay(lines, make)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"replay: {path}: cannot be read: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"replay: {path}: {error}") from None
