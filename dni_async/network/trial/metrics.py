"""The metrics of a run, tried on what the network makes of a few training samples."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from dni_async.stage.losses.metrics.examination import Examination

__all__ = ["try_metrics"]


def try_metrics(
    network: nn.Sequential, examination: Examination, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """Raises ConfigError for a metric that raises, gives no number, or does not fit the data."""
    x, targets = batch
    with torch.no_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        examination.add(network.eval()(x.clone()), targets)
    examination.take()
