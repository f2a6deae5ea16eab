"""The metrics that a run can name, and what is known of each without torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dni_async.config.extensions import is_extension
from dni_async.config.meant import did_you_mean
from dni_async.config.target_form import Taken, TargetForm
from dni_async.decisions.goal import LOSS, Mode
from dni_async.errors import ConfigError

__all__ = [
    "KNOWN",
    "LOSS",
    "METRICS",
    "NEED",
    "MetricTraits",
    "check_metrics",
    "default_metrics",
    "is_built_in",
    "label_of",
    "own_name",
    "traits_of_metric",
]

MAX_METRICS = 32  # what Evaluated carries, with labels of 64 characters
_TOP = re.compile(r"top-([1-9][0-9]{0,4})")
_LABEL = re.compile(r"[A-Za-z0-9_.@+-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTraits:
    """mode: whether the most or the least of it is best. is_share: of 1, shown in per cent."""

    mode: Mode = "max"
    is_share: bool = False


METRICS: Final = {
    "accuracy": MetricTraits(is_share=True),
    "binary-accuracy": MetricTraits(is_share=True),
    "iou": MetricTraits(is_share=True),
    "mae": MetricTraits(mode="min"),
    "perplexity": MetricTraits(mode="min"),
    "r2": MetricTraits(),
    "rmse": MetricTraits(mode="min"),
}
"""Those with a name, beside top-K. What they compute is in stage.losses.metrics."""

KNOWN: Final = (*METRICS, "top-1", "top-5")
"""Names of metrics, of top-K those that people ask for."""

NEED: Final = (
    f"one of {', '.join(METRICS)}, top-5 or another top-K, or package.module:function, with "
    "another name as name=package.module:function"
)


def default_metrics(
    taken: Taken, form: TargetForm | None = None, output_shape: tuple[int, ...] = ()
) -> tuple[str, ...]:
    """Those that mean something where none is asked for: accuracy of class labels.

    taken: by the loss. form, output_shape: of targets and of one sample's outputs; where a loss
    takes any, they tell whether outputs are logits.
    """
    if taken.kind == "classes":
        return ("accuracy",)
    if taken.kind != "any" or form is None or not form.num_classes or not output_shape:
        return ()
    (*places, last), (first, *others) = output_shape, output_shape
    wanted, count = list(form.shape), form.num_classes
    is_logits = (places == wanted and last >= count) or (others == wanted and first >= count)
    return ("accuracy",) if is_logits else ()


def is_built_in(name: str) -> bool:
    """Whether a metric of ours has this name."""
    return name in METRICS or _TOP.fullmatch(name) is not None


def own_name(entry: str) -> str | None:
    """The ``package.module:function`` that an entry of metrics names; None for one of ours."""
    _, equals, name = entry.partition("=")
    name = name if equals else entry
    return name if is_extension(name) else None


def label_of(entry: str) -> str:
    """What the metric of this entry is called in all that is told of a run."""
    label, equals, _ = entry.partition("=")
    return label if equals else entry.rpartition(":")[2]


def traits_of_metric(label: str) -> MetricTraits:
    """Of the loss, of a metric of ours, or of one of the user's own: as far as its label says."""
    if label == LOSS:
        return MetricTraits(mode="min")
    if _TOP.fullmatch(label):
        return METRICS["accuracy"]
    return METRICS.get(label, MetricTraits())


def check_metrics(entries: Sequence[str]) -> None:
    """Raises ConfigError for what is no metric, and for two of one label."""
    if len(entries) > MAX_METRICS:
        raise ConfigError(f"metrics: must be at most {MAX_METRICS}, but are {len(entries)}")
    labels = [label_of(entry) for entry in entries]
    for entry, label in zip(entries, labels, strict=True):
        if entry == LOSS:
            continue  # which is always measured
        if own_name(entry) is None and not is_built_in(entry):
            hint = did_you_mean(entry, KNOWN)
            raise ConfigError(f"metrics: each must be {NEED}, but one is {entry!r}{hint}")
        if not _LABEL.fullmatch(label) or label == LOSS:
            raise ConfigError(
                f"metrics: {label!r} cannot be the name of one; take 1 to 64 letters, digits and "
                f"any of _ . @ + -, and another word than {LOSS}: name=package.module:function"
            )
        if labels.count(label) > 1:
            raise ConfigError(
                f"metrics: two are called {label!r}; give one another name: "
                "name=package.module:function"
            )
