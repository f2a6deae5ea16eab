"""The metrics of a run, made by the names that its settings have for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from dni_async.config.extensions import find_callable
from dni_async.config.metric_names import LOSS, NEED, label_of, own_name
from dni_async.errors import ConfigError
from dni_async.stage.losses.metrics.classes import IGNORED, Accuracy, MeanIou, Perplexity, TopK
from dni_async.stage.losses.metrics.interface import Metric
from dni_async.stage.losses.metrics.numbers import (
    BinaryAccuracy,
    MeanAbsoluteError,
    RootMeanSquaredError,
    RSquared,
)
from dni_async.stage.losses.metrics.own import OwnMetric

__all__ = ["make_metrics"]

_OF_CLASSES: Final[dict[str, Callable[[int], Metric]]] = {
    "accuracy": Accuracy,
    "iou": MeanIou,
    "perplexity": Perplexity,
}
_OF_NUMBERS: Final[dict[str, Callable[[], Metric]]] = {
    "binary-accuracy": BinaryAccuracy,
    "mae": MeanAbsoluteError,
    "r2": RSquared,
    "rmse": RootMeanSquaredError,
}


def make_metrics(entries: Sequence[str], *, ignore_index: int = IGNORED) -> dict[str, Metric]:
    """Each by its label, without the loss. ignore_index: the label that counts nowhere.

    Raises ConfigError for one that is not there.
    """
    return {label_of(entry): _made(entry, ignore_index) for entry in entries if entry != LOSS}


def _made(entry: str, ignore_index: int) -> Metric:
    own = own_name(entry)
    if own is not None:
        return OwnMetric(label_of(entry), find_callable("metrics", own))
    if entry in _OF_CLASSES:
        return _OF_CLASSES[entry](ignore_index)
    if entry in _OF_NUMBERS:
        return _OF_NUMBERS[entry]()
    if entry.startswith("top-"):
        return TopK(int(entry.removeprefix("top-")), ignore_index)
    raise ConfigError(f"metrics: each must be {NEED}, but one is {entry!r}")
