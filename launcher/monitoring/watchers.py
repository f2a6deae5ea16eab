"""Who follows a run beside the user at the screen: an address with figures, event files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.files import names
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.report.curves import CurvePoint
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult
from dni_async.launcher.report.watcher import Watcher
from dni_async.wire.foreign_text import without_password
from dni_async.wire.messages import Progress

if TYPE_CHECKING:
    from dni_async.launcher.plan.plan import Plan

__all__ = ["WatchedDisplay", "Watchers", "open_watchers"]


class Watchers:
    """Those that a run has. notes: what the user is told of them."""

    def __init__(self) -> None:
        self.all: list[Watcher] = []
        self.notes: list[str] = []


class WatchedDisplay(Display):
    """A display, and watchers that hear what it hears."""

    def __init__(self, display: Display, watchers: Sequence[Watcher]) -> None:
        super().__init__(display.console)
        self._display = display
        self._watchers = list(watchers)

    def note(self, text: str) -> None:
        """A sentence for the user."""
        self._display.note(text)

    def waiting(self, text: str) -> None:
        """What is waited for."""
        self._display.waiting(text)

    def started(self, startup_s: float, pids: Mapping[int, int]) -> None:
        """All workers have begun."""
        self._tell(lambda watcher: watcher.started(startup_s, pids))

    def lay_out(self, plan: Plan) -> None:
        """What is to be trained, and by whom."""
        self._tell(lambda watcher: watcher.lay_out(plan))

    def begin(self, run: RunResult) -> None:
        """A network is trained from now on."""
        self._tell(lambda watcher: watcher.begin(run))

    def progress(self, progress: Progress) -> None:
        """A worker's counters."""
        self._tell(lambda watcher: watcher.progress(progress))

    def point(self, run: RunResult, point: CurvePoint) -> None:
        """The next point of a curve."""
        self._tell(lambda watcher: watcher.point(run, point))

    def trained(self, run: RunResult, num_batches: int) -> None:
        """A baseline's batches."""
        self._tell(lambda watcher: watcher.trained(run, num_batches))

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """An epoch of run."""
        self._tell(lambda watcher: watcher.epoch(run, epoch))

    def died(self, restart: RestartResult) -> None:
        """A worker is gone."""
        self._tell(lambda watcher: watcher.died(restart))

    def recovered(self, restart: RestartResult) -> None:
        """A worker is replaced."""
        self._tell(lambda watcher: watcher.recovered(restart))

    def end(self, report: Mapping[str, Any]) -> None:
        """The run is over."""
        self._tell(lambda watcher: self._end(watcher, report))

    def _end(self, watcher: Watcher, report: Mapping[str, Any]) -> None:
        """Loggers may take a while, as their servers do."""
        if watcher.title:
            self._display.waiting(f"telling {watcher.title} the rest")
        try:
            watcher.end(report)
        finally:
            if watcher.title:
                self._display.waiting("")

    def _tell(self, call: Callable[[Watcher], None]) -> None:
        """A watcher that cannot write costs what it shows and not the run."""
        call(self._display)
        for watcher in list(self._watchers):
            try:
                call(watcher)
            except OSError as error:
                if watcher.is_essential:
                    raise
                self._watchers.remove(watcher)
                self.note(f"{watcher.title or type(watcher).__name__} shows no more: {error}")


@contextmanager
def open_watchers(config: RunConfig, event_files: Path) -> Iterator[Watchers]:
    """What config asks for; nothing is imported for what it does not.

    event_files: the folder for those, in the run's; nothing is written before a network is trained.
    A cluster that places the workers is connected to already. Raises ConfigError when a package is
    not installed or the address cannot be listened on.
    """
    watchers = Watchers()
    with ExitStack() as stack:
        if config.metrics_port is not None:
            with _extra("metrics_port", ("prometheus_client",), "metrics"):
                from dni_async.launcher.monitoring.prometheus import MetricsServer
            server = stack.enter_context(closing(MetricsServer(config)))
            watchers.all.append(server)
            watchers.notes.append(f"metrics: {server.url}")
        if config.tensorboard:
            with _extra("tensorboard", ("tensorboard",), "tensorboard"):
                from dni_async.launcher.monitoring.tensorboard import EventFiles
            watchers.all.append(stack.enter_context(closing(EventFiles(event_files))))
            watchers.notes.append(f"event files: tensorboard --logdir {event_files}")
        if config.dashboard:
            with _extra("dashboard", ("starlette", "uvicorn", "anyio"), "dashboard"):
                from dni_async.launcher.dashboard.server import Dashboard
            place = (config.dashboard_host, config.dashboard_port, config.dashboard_url)
            dashboard = stack.enter_context(closing(Dashboard(event_files.parent, *place)))
            watchers.all.append(dashboard)
            watchers.notes.append(f"dashboard: {dashboard.url}")
        _open_loggers(config, event_files.parent, watchers)
        if config.engine == "ray":
            from dni_async.launcher.monitoring.ray_metrics import RayGauges

            watchers.all.append(RayGauges(event_files.parent.name))
        yield watchers


def _open_loggers(config: RunConfig, folder: Path, watchers: Watchers) -> None:
    """Those of other people, which are imported in threads of their own: it takes seconds."""
    if config.mlflow is not None:
        _need("mlflow", "mlflow")
        from dni_async.launcher.monitoring.loggers.mlflow import MlflowLog, tracking_uri
        from dni_async.launcher.monitoring.loggers.watching import LoggedRun

        uri = tracking_uri(config.mlflow)
        watchers.all.append(LoggedRun("MLflow", lambda: MlflowLog(uri), folder, names.MLFLOW))
        watchers.notes.append(f"MLflow: runs are logged to {without_password(uri)}")
    if config.wandb is not None:
        _need("wandb", "wandb")
        from dni_async.launcher.monitoring.loggers.wandb import WandbLog, check_login, network_mode
        from dni_async.launcher.monitoring.loggers.watching import LoggedRun

        project, mode = config.wandb, network_mode()
        if mode == "disabled":
            watchers.notes.append(
                "W&B: nothing is logged, as its mode is disabled; set WANDB_MODE=online"
            )
            return
        check_login()
        watchers.all.append(LoggedRun("W&B", lambda: WandbLog(project), folder, names.WANDB_ID))
        how = ", offline: wandb sync sends it" if mode == "offline" else ""
        watchers.notes.append(f"W&B: runs are logged to the project {project}{how}")


def _need(setting: str, package: str) -> None:
    """Raises ConfigError where the package is not installed; it is not imported."""
    with _extra(setting, (package,), setting):
        if find_spec(package) is None:
            raise ModuleNotFoundError(package, name=package)


@contextmanager
def _extra(setting: str, packages: Sequence[str], extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in packages:
            raise
        raise ConfigError(
            f"{setting}: needs a package that is not installed here; "
            f"pip install 'dni-async[{extra}]'"
        ) from error
