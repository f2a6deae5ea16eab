"""Metrics that a caller gives come to entries of the setting, or to one sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from dni_async import ConfigError
from dni_async.config.extensions import find_callable
from dni_async.config.given import open_folder
from dni_async.config.metric_names import own_name
from dni_async.config.own_metrics import metric_entries


def dice(outputs: Any, targets: Any) -> float:
    """One that a module holds."""
    return 0.5


def local() -> Callable[..., float]:
    """One that no module holds."""

    def own(outputs: Any, targets: Any) -> float:
        return 0.25

    return own


def test_names_and_functions_become_entries() -> None:
    with open_folder() as folder:
        assert metric_entries("iou, mae", folder) == ("iou", "mae")
        assert metric_entries(["iou", "a.b:c"], folder) == ("iou", "a.b:c")
        assert metric_entries(dice, folder) == (f"dice={__name__}:dice",)
        assert metric_entries({"iou": "iou", "x": "a.b:c"}, folder) == ("iou", "x=a.b:c")


def test_functions_of_any_name_are_found_again_and_told_apart() -> None:
    given = {"a-b": lambda *_: 1.0, "ab": lambda *_: 2.0, "a.b": local()}
    with open_folder() as folder:
        entries = metric_entries(given, folder)
        found = [find_callable("metrics", str(own_name(entry)))(0, 0) for entry in entries]
        assert [entry.partition("=")[0] for entry in entries] == list(given)
        assert found == [1.0, 2.0, 0.25]
        assert metric_entries([local()], folder) == ("own=dni_async.config.given:metrics_own",)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (lambda *_: 1.0, "a <lambda> has no name to be told by; give functions by name"),
        ([functools.partial(dice)], "a partial has no name to be told by"),
        ([3], "each is a name or a function, but one is a int"),
        (3, "must be names and functions in a list, or functions by name, but is a int"),
        ({"a": 3}, "a must be a function of outputs and targets, but is a int"),
    ],
)
def test_what_is_no_metric_is_told(metrics: object, said: str) -> None:
    with open_folder() as folder, pytest.raises(ConfigError, match=f"metrics: {said}"):
        metric_entries(metrics, folder)
