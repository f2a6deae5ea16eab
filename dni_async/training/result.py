"""What came of a run: the trained network, its figures, and the report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dni_async.errors import DataError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TrainingResult", "figures_of"]


def _no_html() -> None:
    """Of a result that no notebook asked for."""


@dataclass(frozen=True, slots=True, repr=False)
class TrainingResult:
    """What came of a run. model: trained, on the CPU, in evaluation mode.

    report: what report.json holds. run_dir: where the run is kept, None if it is not.
    """

    model: nn.Module
    report: Mapping[str, Any]
    run_dir: Path | None
    accuracy: float | None
    """On the test samples after the last epoch, and of a run that was stopped as the model came
    back, in [0, 1]; None where it was not measured."""
    best_model: nn.Module | None = field(default=None, repr=False)
    """With keep_best: the model as it was after its best test, by the chosen metric; else None."""

    _html: Callable[[], str | None] = field(default=_no_html, compare=False)

    def _repr_html_(self) -> str | None:
        """What a notebook shows: figures and curves; nothing more where it shows them already."""
        return self._html()

    def __repr__(self) -> str:
        """The last figures, how many epochs, and where the run is kept, in a line."""
        told = [f"{name}={value:.4g}" for name, value in self.metrics.items()]
        told.append(f"epochs={self.epochs[-1]['epoch'] if self.epochs else 0}")
        stopped = self.report["runs"][0].get("stopped")
        told += [] if stopped is None else [f"stopped={stopped['reason']!r}"]
        told += [] if self.run_dir is None else [f"run_dir={os.fspath(self.run_dir)!r}"]
        return f"TrainingResult({', '.join(told)})"

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """Of each epoch: epoch, seconds of training, train_loss, test_loss, test_metrics."""
        epochs: list[dict[str, Any]] = self.report["runs"][0]["epochs"]
        return epochs

    @property
    def metrics(self) -> dict[str, float]:
        """The figures of the last epoch: train_loss, test_loss, and each metric as test_NAME.

        Without what there is not: of no test samples there is no test loss. Of a run that was
        stopped those of the test are of the model as it came back.
        """
        last = self.epochs[-1] if self.epochs else {}
        return figures_of({**last, **(self.report["runs"][0].get("stopped") or {})})

    def predict(self, x: Any) -> Any:
        """The model's outputs, float32 [N, ...], for x [N, ...features] as it was trained on.

        x: a numpy array or a torch tensor, and so are the outputs; ids where the samples were ids,
        else numbers, scaled as those were. In evaluation mode, without gradients, and in batches
        as large as the run's, so N may be large. Raises DataError for an x that does not fit.
        """
        from dni_async.network.outputs import outputs_of

        config, shape = self.report["config"], self.report["data"]["input_shape"]
        if getattr(x, "ndim", None) == len(shape):
            raise DataError(
                f"x: has shape {list(x.shape)}, as one sample has; give [samples, ...]: x[None]"
            )
        return outputs_of(
            self.model,
            x,
            batch_size=config["batch_size"],
            dtype=config["dtype"],
            holds_ids=self.report["data"]["holds_ids"],
        )


def figures_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The losses and metrics in a row of report.json, by name; without those that are None."""
    figures = {name: row.get(name) for name in ("train_loss", "test_loss")}
    figures |= {f"test_{name}": value for name, value in row.get("test_metrics", {}).items()}
    return {name: value for name, value in figures.items() if value is not None}
