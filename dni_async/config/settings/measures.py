"""Settings of what tests of the network measure, and when that ends a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dni_async.config.metric_names import KNOWN
from dni_async.config.setting import AT_LEAST_1, Check, setting
from dni_async.decisions.goal import LOSS, Mode

__all__ = ["MeasureSettings"]


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """What is measured beside the loss, which of it is chosen, and what is to be reached."""

    metrics: tuple[str, ...] | None = setting(
        None,
        "What is measured on the test samples: accuracy, top-5 (or another top-K), iou, "
        "binary-accuracy, perplexity, mae, rmse, r2, loss (which always is), or functions of your "
        "own of (outputs, targets), also as NAME=PACKAGE.MODULE:FUNCTION.",
        why="accuracy says something of classes alone",
        resumable=True,
        metavar="METRIC[,METRIC...]",
        known=(*KNOWN, LOSS),
        default_text="accuracy where targets are classes, else the loss alone",
    )
    metric: str | None = setting(
        None,
        "The one that displays, comparisons, --target and --patience go by: one of the metrics, or "
        "loss for the test loss.",
        why="who names several names the most important first",
        resumable=True,
        metavar="METRIC",
        known=(*KNOWN, LOSS),
        default_text="the first of them, else loss",
    )
    metric_mode: Mode | None = setting(
        None,
        "Whether the most or the least of that metric is best.",
        why="what a function of your own gives only you know",
        resumable=True,
        default_text="known of those with a name; max of your own",
    )
    target: float | None = setting(
        None,
        "Report the training seconds until the metric reaches this value.",
        why="depends on the data",
        check=Check("a finite number", math.isfinite),
        resumable=True,
        default_text="none",
    )
    early_stop: bool = setting(
        False,
        "Stop every run after the epoch that reaches the target.",
        why="all epochs were asked for",
        resumable=True,
    )
    patience: int | None = setting(
        None,
        "Stop every run that has gone so many epochs without a better value of the metric.",
        why="all epochs were asked for",
        check=AT_LEAST_1,
        resumable=True,
        metavar="EPOCHS",
        default_text="no end",
    )
