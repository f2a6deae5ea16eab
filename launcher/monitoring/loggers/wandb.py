"""A run in Weights & Biases: runs of one group, with or without a network."""

from __future__ import annotations

import json
import netrc
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dni_async.errors import ConfigError
from dni_async.files import names
from dni_async.launcher.monitoring.loggers.log import Ending, Facts, Row, keep, kept_in

__all__ = ["WandbLog", "check_login", "network_mode"]

UPDATE: Final = "update"  # what everything is drawn over
SECONDS: Final = "train_seconds"
INIT_S: Final = 30.0
EXIT: Final[Mapping[Ending, int]] = {"finished": 0, "interrupted": 255, "failed": 1}


def network_mode() -> str:
    """What the user has switched on or off, as the library has it: online, offline, disabled."""
    if asked := os.environ.get("WANDB_MODE"):
        return "offline" if asked == "dryrun" else asked
    folder = Path(os.environ.get("WANDB_CONFIG_DIR", Path.home() / ".config" / "wandb"))
    for settings in (folder / "settings", Path("wandb") / "settings"):
        with suppress(OSError):
            text = settings.read_text(encoding="utf-8").replace(" ", "")
            for mode in ("offline", "disabled"):
                if f"mode={mode}" in text:
                    return mode
    return "online"


def check_login() -> None:
    """Raises ConfigError where the library would ask the user who he is, in the midst of a run."""
    if network_mode() == "offline" or any(os.environ.get(f"WANDB_{name}") for name in _KEYS):
        return
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    for path in (os.environ.get("NETRC", ""), "~/.netrc", "~/_netrc"):
        with suppress(OSError, netrc.NetrcParseError):
            if path and netrc.netrc(os.path.expanduser(path)).authenticators(host):
                return
    raise ConfigError(
        f"wandb: nobody is logged in at {host}; run 'wandb login', set WANDB_API_KEY, or "
        "WANDB_MODE=offline to log without a network"
    )


_KEYS: Final = ("API_KEY", "IDENTITY_TOKEN_FILE")


class WandbLog:
    """What Weights & Biases is told, by its library. project: where the runs go.

    Their ids are kept in the run directory, for a resumed run to go on with.
    """

    def __init__(self, project: str) -> None:
        import wandb

        self._wandb = wandb
        self._project = project
        self._runs: dict[str, Any] = {}
        self._marks: dict[str, dict[str, str]] = {}

    def open(self, facts: Facts) -> None:
        """Nothing is reached before a network is trained."""
        self._facts = facts

    def begin(self, run: str, kind: str, rule: str) -> None:
        """A run of its own; where the folder's has been resumed, that one."""
        facts = self._facts
        kept, run_id, resume = facts.folder / names.WANDB_ID, secrets.token_hex(4), None
        if kind == "decoupled":
            if kept.exists():
                run_id = kept_in(kept)["id"]
                resume = None if network_mode() == "offline" else "allow"
            keep(kept, project=self._project, id=run_id)
        began = self._wandb.init(
            project=self._project,
            dir=os.environ.get("WANDB_DIR", str(facts.folder.absolute())),
            id=run_id,
            resume=resume,
            name=f"{facts.name} {run}",
            group=facts.name,
            job_type=kind,
            tags=[rule, facts.about["data"]],
            notes=facts.changed or None,
            config={**facts.settings, "about": dict(facts.about)},
            allow_val_change=True,
            reinit="create_new",
            settings=self._settings(),
        )
        began.define_metric(UPDATE, hidden=True)
        began.define_metric("*", step_metric=UPDATE)
        self._runs[run] = began

    def _settings(self) -> Any:
        """The terminal is the run's own, and nothing is asked there."""
        return self._wandb.Settings(
            console="off",
            silent=True,
            save_code=False,
            disable_git=True,
            init_timeout=INIT_S,
            login_timeout=1,
        )

    def add(self, rows: Sequence[Row]) -> None:
        """Each row for itself: what is drawn over updates may come in any order."""
        for row in rows:
            place = {UPDATE: row.updates, SECONDS: row.seconds}
            self._runs[row.run].log({**row.values, **place})

    def mark(self, run: str, name: str, text: str) -> None:
        """A line of the summary."""
        self._runs[run].summary[name] = text

    def finish(self, run: str, ending: Ending, report: Mapping[str, Any]) -> None:
        """End the run; the report is one of its files."""
        ended = self._runs.pop(run)
        if report:
            text = json.dumps(report, indent=1)
            (Path(ended.dir) / names.REPORT).write_text(text, encoding="utf-8")
        ended.summary["status"] = ending
        ended.finish(exit_code=EXIT[ending])
