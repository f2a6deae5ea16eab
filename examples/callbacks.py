"""Follow a run and stop it when it has learnt enough: python examples/callbacks.py

Two objects hear of the run while it trains: one keeps its curve, one asks for its end when tests
have not been better for a while, for a reason that no setting knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dni_async


class Curve(dni_async.Callback):
    """The test accuracy over seconds of training."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.accuracy: list[float] = []

    def on_epoch(self, run: dni_async.RunView, epoch: Mapping[str, Any]) -> None:
        self.seconds.append(sum(each["seconds"] for each in run.epochs))
        self.accuracy.append(run.metrics["test_accuracy"])


class StopWhenFlat(dni_async.Callback):
    """Ask for the end when the last epochs together have gained less than so much."""

    def __init__(self, gain: float = 0.005, epochs: int = 4) -> None:
        self.gain = gain
        self.epochs = epochs

    def on_epoch(self, run: dni_async.RunView, epoch: Mapping[str, Any]) -> None:
        tests = [each["test_metrics"]["accuracy"] for each in run.epochs]
        if len(tests) > self.epochs and max(tests) - max(tests[: -self.epochs]) < self.gain:
            run.stop(f"{self.epochs} epochs gained less than {self.gain:.1%}")


if __name__ == "__main__":
    curve = Curve()
    result = dni_async.train(
        layers=3, width=128, epochs=500, callbacks=[curve, StopWhenFlat()], progress=False
    )

    print(result)
    print(f"{result.report['status']} after {len(result.epochs)} epochs:", end=" ")
    print(result.report["runs"][0]["stopped"]["reason"])
    for seconds, accuracy in zip(curve.seconds, curve.accuracy, strict=True):
        print(f"{seconds:6.2f} s  {accuracy:7.2%}")
