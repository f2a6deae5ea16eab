"""Settings of the loss, which every stage learns by."""

from __future__ import annotations

from dataclasses import dataclass

from dni_async.config.names import LOSSES
from dni_async.config.setting import Check, name_or_own, setting

__all__ = ["LossSettings"]


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """What outputs and targets come to."""

    loss: str = setting(
        "cross-entropy",
        "What is minimised: cross-entropy of logits and class labels; of numbers mse, l1, huber "
        "or smooth-l1; bce-with-logits, of zeros and ones, several a sample; nll and bce, of "
        "networks that end in log_softmax or sigmoid; or a function of your own, of outputs and "
        "targets, that gives their mean loss.",
        why="labels are what most data sets have; how any loss is treated: 0099",
        check=name_or_own(tuple(LOSSES), "function"),
        metavar="NAME|PACKAGE.MODULE:FUNCTION",
    )
    label_smoothing: float = setting(
        0.0,
        "Share of the target that cross-entropy spreads evenly over all classes.",
        why="none, as in torch",
        check=Check("in [0, 1]", lambda value: 0 <= value <= 1),
    )
    ignore_index: int = setting(
        -100,
        "The class label that does not count, as padding has it.",
        why="torch's",
    )
