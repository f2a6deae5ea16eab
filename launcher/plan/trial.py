"""A network of the user's own, tried on a few samples before any process starts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dni_async.config.run_config import RunConfig
from dni_async.data import Dataset
from dni_async.errors import ConfigError

__all__ = ["check_last_batch", "try_model"]


def check_last_batch(config: RunConfig, num_train: int) -> None:
    """Raises ConfigError where an epoch ends in a batch of one, with BatchNorm in the network."""
    if config.batch_size == 1 or num_train % config.batch_size == 1:
        raise ConfigError(
            f"batch_size: {config.batch_size} leaves a batch of one of the {num_train} training "
            "samples, which BatchNorm cannot normalise"
        )


def try_model(config: RunConfig, dataset: Dataset) -> int:
    """Build the user's network and pass it a few samples; the number of its layers."""
    import torch

    from dni_async.network.building import (
        build_network,
        check_network,
        has_batch_norm,
        layer_starts,
    )
    from dni_async.stage.losses.catalog import run_loss

    network = build_network(config, dataset.input_shape, dataset.num_classes)
    x = torch.from_numpy(_few_samples(dataset))
    targets = torch.zeros(len(x), *dataset.label_shape, dtype=torch.int64)
    loss = run_loss(dataset.num_classes)
    loss.check_outputs(
        check_network(network, x, targets.shape[: loss.sample_dims(targets)]), targets
    )
    if has_batch_norm(network):
        check_last_batch(config, len(dataset.y_train))
    return len(layer_starts(network))


def _few_samples(dataset: Dataset) -> NDArray[Any]:
    """Test samples; of ids also those with the largest one, which the model may not know."""
    few = [dataset.x_test[:4]]
    if dataset.holds_ids:
        for x in (dataset.x_train, dataset.x_test):
            largest = int(x.argmax()) // dataset.num_features
            few.append(x[largest : largest + 1])
    return dataset.decode(np.concatenate(few))
