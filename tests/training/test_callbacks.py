"""Objects that hear of a run: what they are shown of it, and which are none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

import dni_async
from dni_async import Callback, ConfigError, RunConfig, RunView
from dni_async.training.callbacks import checked_callbacks
from tests.launcher.told import EPOCH, decoupled


class Stopper(Callback):
    """With the base."""

    def on_epoch(self, run: RunView, epoch: Mapping[str, Any]) -> None:
        """Enough at once."""
        run.stop("enough")


class Plain:
    """Without it."""

    def on_end(self, *told: object) -> None:
        """Whatever is told."""


class Empty(Callback):
    """As one begins."""


class Mistaken(Callback):
    """By the name that it has elsewhere."""

    def on_epoch_end(self, epoch: int, logs: object) -> None:
        """Never called."""


class Short:
    """Takes too little."""

    def on_epoch(self, run: RunView) -> None:
        """Would raise."""


class Awaited:
    """Would only begin."""

    async def on_start(self, run: RunView) -> None:
        """Nobody awaits it."""


def test_what_can_be_called_is_kept() -> None:
    one, other = Stopper(), Plain()
    assert checked_callbacks((one, other)) == [one, other]
    assert checked_callbacks([]) == []
    assigned = Empty()
    assigned.on_start = print  # type: ignore[method-assign]
    assert checked_callbacks(iter([assigned])) == [assigned]


@pytest.mark.parametrize(
    ("callbacks", "said"),
    [
        (Stopper(), "must be a list of objects, but is a Stopper; write callbacks=[MINE]"),
        ("on_epoch", "must be a list of objects, but is a str"),
        ([Stopper], "Stopper is a class; give an object of it: Stopper()"),
        (
            [print],
            "a builtin_function_or_method has none of on_start, on_epoch, on_restart, on_end",
        ),
        ([Empty()], "a Empty has none of on_start"),
        ([Mistaken()], "it has on_epoch_end: did you mean on_epoch?"),
        ([Short()], "Short.on_epoch(run: 'RunView') -> 'None' must take (run, epoch)"),
        ([Awaited()], "Awaited.on_start is async, and nobody awaits it"),
    ],
    ids=["no list", "text", "class", "function", "empty", "mistaken", "short", "async"],
)
def test_what_cannot_be_called_is_said_at_once(callbacks: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        dni_async.train(callbacks=callbacks)


def test_a_view_shows_the_run_as_the_report_does() -> None:
    run = decoupled()
    view = RunView(run, RunConfig(epochs=7))
    assert (view.name, view.settings.epochs, view.epochs, view.metrics) == ("dni", 7, [], {})
    assert (view.samples_per_second, repr(view)) == (0.0, "RunView(dni, 0 epochs)")
    run.epochs.append(EPOCH)
    report = run.to_dict()
    assert (view.epochs, view.restarts) == (report["epochs"], report["restarts"])
    assert view.metrics == {"train_loss": 0.25, "test_loss": 0.5, "test_accuracy": 0.75}
    assert view.samples_per_second == 2000.0
    assert repr(view).endswith("1 epochs, train_loss=0.25, test_loss=0.5, test_accuracy=0.75)")
    with pytest.raises(AttributeError):
        view.name = "another"  # type: ignore[misc]


def test_a_view_asks_for_the_end_and_remembers_the_first_reason() -> None:
    run = decoupled()
    view = RunView(run, RunConfig())
    assert (view.stop_reason, run.take_stop()) == (None, None)
    view.stop("enough")
    view.stop()
    assert view.stop_reason == "enough"
    assert (run.take_stop(), run.take_stop()) == ("a callback asked for it", None)
    with pytest.raises(ConfigError, match="the reason must be text, but is 3"):
        view.stop(3)  # type: ignore[arg-type]
