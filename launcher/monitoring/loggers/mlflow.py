"""A run in MLflow: the decoupled run as a run of an experiment, the baselines as its children."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dni_async.errors import ConfigError
from dni_async.files import names
from dni_async.launcher.monitoring.loggers.log import Ending, Facts, Row, keep, kept_in
from dni_async.wire.foreign_text import without_password

__all__ = ["MlflowLog", "tracking_uri"]

EXPERIMENT: Final = "dni-async"
MAX_METRICS: Final = 1000  # that a server takes at once
CONNECT_S: Final = 5.0
MAX_TEXT: Final = 5000  # characters of a tag
STATUS: Final[Mapping[Ending, str]] = {
    "finished": "FINISHED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}
# Where the user does not say otherwise: a server that is gone is given up within a minute.
_QUIET: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def tracking_uri(where: str) -> str:
    """Where MLflow keeps its runs: a URI as it is, of a folder the database in it.

    Raises ConfigError for a folder that is none, and a server that does not answer.
    """
    if where.startswith(("http://", "https://")):
        _check_server(where)
    if "://" in where and not where.startswith("file://"):
        return where
    folder = Path(where.removeprefix("file://")).absolute()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"mlflow: {folder} is a file; name a folder, or sqlite:///{folder}")
    return f"sqlite:///{folder}/mlflow.db"


def _check_server(uri: str) -> None:
    """Before the run rather than in its midst, where the library would try for long."""
    parts = urlsplit(uri)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"mlflow: nothing answers at {uri}: {error}; start a server there, or name a folder"
        ) from error


class MlflowLog:
    """What MLflow is told, by its client. uri: see tracking_uri. The run's id in it is kept in the
    run directory, for a resumed run to go on with.
    """

    def __init__(self, uri: str) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        _quieten()
        if uri.startswith("sqlite:////"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self._uri = uri
        self._client = MlflowClient(tracking_uri=uri)
        self._began_ms = int(time.time() * 1000)
        self._ids: dict[str, str] = {}
        self._parent = ""

    def open(self, facts: Facts) -> None:
        """Find or make the experiment."""
        self._facts = facts
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            self._experiment: str = found.experiment_id
            return
        place = None
        if self._uri.startswith("sqlite:////"):  # else beside whoever happens to work where
            place = str(Path(self._uri.removeprefix("sqlite:///")).parent / "mlartifacts")
        self._experiment = self._client.create_experiment(name, artifact_location=place)

    def begin(self, run: str, kind: str, rule: str) -> None:
        """A run of its own; where the folder's has been resumed, that one."""
        kept = self._facts.folder / names.MLFLOW
        if kind == "decoupled" and kept.exists():
            self._parent = self._ids[run] = self._resume(kept)
            return
        of_parent = {"mlflow.parentRunId": self._parent} if self._parent else {}
        name = f"{self._facts.name} {run}"
        tags = {
            "kind": kind,
            "rule": rule,
            "settings": self._facts.changed[:MAX_TEXT],
            "run_dir": str(self._facts.folder.absolute()),
        }
        tags |= {**self._facts.about, **of_parent}
        made = self._client.create_run(self._experiment, run_name=name, tags=tags)
        self._ids[run] = made.info.run_id
        if kind == "decoupled":
            self._parent = made.info.run_id
            keep(kept, uri=without_password(self._uri), run_id=self._parent)
        self._log_settings(made.info.run_id)

    def _resume(self, kept: Path) -> str:
        """Go on with the run that is kept; its id. Raises ConfigError where it is elsewhere."""
        told = kept_in(kept)
        if told["uri"] != without_password(self._uri):
            raise ConfigError(f"this run is logged to {told['uri']}; give that to --mlflow")
        run_id: str = told["run_id"]
        self._client.update_run(run_id, status="RUNNING")
        self._client.set_tag(run_id, "settings", self._facts.changed[:MAX_TEXT])
        self._client.set_tag(run_id, "resumed", "true")
        return run_id

    def _log_settings(self, run_id: str) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)) for name, value in self._facts.settings.items()]
        for first in range(0, len(params), 100):  # as many as a server takes at once
            self._client.log_batch(run_id, params=params[first : first + 100])

    def add(self, rows: Sequence[Row]) -> None:
        """Each value at its update, and at the time that training alone would have taken."""
        from mlflow.entities import Metric

        metrics: dict[str, list[Metric]] = {}
        for row in rows:
            at_ms = self._began_ms + round(row.seconds * 1000)
            metrics.setdefault(row.run, []).extend(
                Metric(tag, value, at_ms, row.updates) for tag, value in row.values.items()
            )
        for run, of_run in metrics.items():
            for first in range(0, len(of_run), MAX_METRICS):
                part = of_run[first : first + MAX_METRICS]
                self._client.log_batch(self._ids[run], metrics=part)

    def mark(self, run: str, name: str, text: str) -> None:
        """A tag of that name."""
        self._client.set_tag(self._ids[run], name, text[:MAX_TEXT])

    def finish(self, run: str, ending: Ending, report: Mapping[str, Any]) -> None:
        """End the run; the report goes with the decoupled one."""
        if report and self._parent:
            self._client.log_dict(self._parent, dict(report), names.REPORT)
        self._client.set_terminated(self._ids[run], STATUS[ending])


def _quieten() -> None:
    """Its tables are made with lines of log that would break the display of a run."""
    import logging

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
