"""Objects of the caller's that hear of a run while it trains, and may ask for its end."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.training.result import figures_of

__all__ = ["Callback", "RunView", "checked_callbacks"]


class Callback:
    """Hears of a run in the caller's thread; each method is there to be overridden.

    An object without this base that has any of the methods will do as well. The workers go on
    meanwhile, and the launcher does not: what takes long holds up everything that it sees to. What
    a method raises ends the run and, once all workers have ended, comes out of
    ``dni_async.train``. Baselines are not told of.
    """

    def on_start(self, run: RunView) -> None:
        """Everything has been checked, and no process has been started yet."""

    def on_epoch(self, run: RunView, epoch: Mapping[str, Any]) -> None:
        """An epoch has been trained and tested; with evaluate_every, all since the last test.

        epoch: as in ``TrainingResult.epochs``: epoch (its number), seconds, train_loss, test_loss,
        test_metrics by name, num_samples, num_tested. It is the last of ``run.epochs``. The workers
        have begun the next one.
        """

    def on_restart(self, run: RunView, restart: Mapping[str, Any]) -> None:
        """A worker has died, and another one is to take its place.

        restart: stage, cause, at_seconds (since the start), and seconds until the stage trains
        again: None here, and in ``run.restarts`` once it does.
        """

    def on_end(self, run: RunView, report: Mapping[str, Any]) -> None:
        """All is over, baselines too, however it has ended; on_start has been called before.

        report: as report.json; report["status"] is finished, stopped, interrupted or failed. No
        process is left. What is raised here does not hide what has ended the run.
        """


METHODS = {  # and their arguments
    "on_start": ("run",),
    "on_epoch": ("run", "epoch"),
    "on_restart": ("run", "restart"),
    "on_end": ("run", "report"),
}


class _Row(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


class _Followed(Protocol):
    """A run as the launcher keeps it."""

    stop_asked: str | None

    @property
    def name(self) -> str: ...
    @property
    def epochs(self) -> Sequence[_Row]: ...
    @property
    def restarts(self) -> Sequence[_Row]: ...
    @property
    def samples_per_second(self) -> float: ...


class RunView:
    """A run as callbacks see it: what it has come to so far, and a way to ask for its end."""

    def __init__(self, followed: _Followed, settings: RunConfig) -> None:
        self._followed = followed
        self._settings = settings
        self._reason: str | None = None

    @property
    def name(self) -> str:
        """As in the report: that of its rule."""
        return self._followed.name

    @property
    def settings(self) -> RunConfig:
        """All of them, the defaults too."""
        return self._settings

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """Those that have ended, each as on_epoch is given it."""
        return [epoch.to_dict() for epoch in self._followed.epochs]

    @property
    def restarts(self) -> list[dict[str, Any]]:
        """The workers that were replaced, each as on_restart is given it."""
        return [restart.to_dict() for restart in self._followed.restarts]

    @property
    def metrics(self) -> dict[str, float]:
        """The figures of the last epoch: train_loss, test_loss, and each metric as test_NAME.

        Empty before the first one has ended.
        """
        return figures_of(self._followed.epochs[-1].to_dict()) if self._followed.epochs else {}

    @property
    def samples_per_second(self) -> float:
        """Samples that the whole network was trained on, over the seconds of training; 0 at first.

        Of the epochs that have ended.
        """
        return self._followed.samples_per_second

    @property
    def stop_reason(self) -> str | None:
        """Why the run was asked to stop first; None where it was not."""
        return self._reason

    def stop(self, reason: str = "a callback asked for it") -> None:
        """Ask for the end of the run; returns at once, from whatever thread it is called.

        The source begins no more batches, those under way pass the line, and the workers leave. The
        epoch that is running is not told of any more; in epochs of a few milliseconds one or two
        may still end. The model comes back as it is then. reason: for the user, and report.json.
        While a baseline is trained, that is ended at once, and is the last. Without effect once all
        is over. Raises ConfigError for a reason that is no text.
        """
        if not isinstance(reason, str):
            raise ConfigError(f"stop: the reason must be text, but is {reason!r}")
        if self._reason is None:
            self._reason = reason
        self._followed.stop_asked = reason

    def __repr__(self) -> str:
        """In a line."""
        figures = "".join(f", {name}={value:.4g}" for name, value in self.metrics.items())
        return f"RunView({self.name}, {len(self._followed.epochs)} epochs{figures})"


def checked_callbacks(callbacks: object) -> list[object]:
    """The objects in callbacks. Raises ConfigError where one of them could not be called."""
    if isinstance(callbacks, str | Mapping) or not isinstance(callbacks, Iterable):
        raise ConfigError(
            f"callbacks: must be a list of objects, but is a {type(callbacks).__name__}; write "
            "callbacks=[MINE]"
        )
    found = list(callbacks)
    for each in found:
        _check(each)
    return found


def _check(callback: object) -> None:
    if isinstance(callback, type):
        name = callback.__name__
        raise ConfigError(f"callbacks: {name} is a class; give an object of it: {name}()")
    kind = type(callback).__name__
    own = [name for name in METHODS if _is_own(callback, name)]
    if not own:
        raise ConfigError(f"callbacks: a {kind} has none of {', '.join(METHODS)}{_near(callback)}")
    for name in own:
        _check_method(f"{kind}.{name}", getattr(callback, name), METHODS[name])


def _is_own(callback: object, name: str) -> bool:
    """Whether it does anything by that name."""
    method = getattr(callback, name, None)
    return callable(method) and getattr(method, "__func__", None) is not getattr(Callback, name)


def _near(callback: object) -> str:
    """What it may have meant by a name of its own."""
    for name in (each for each in dir(callback) if each.startswith("on_") and each not in METHODS):
        meant = difflib.get_close_matches(name, METHODS, n=1)
        if meant:
            return f"; it has {name}: did you mean {meant[0]}?"
    return ""


def _check_method(name: str, method: Any, arguments: Sequence[str]) -> None:
    """Raises ConfigError if it cannot be called with these, or would only begin something."""
    if inspect.iscoroutinefunction(method):
        raise ConfigError(f"callbacks: {name} is async, and nobody awaits it; write a plain def")
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # of some callables nothing is known
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise ConfigError(
            f"callbacks: {name}{signature} must take ({', '.join(arguments)})"
        ) from None
