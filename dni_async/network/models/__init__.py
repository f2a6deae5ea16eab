"""The networks that a run can name: an MLP, a convolutional and a residual network.

Each is an nn.Sequential with one child per layer, so that it can be cut between any two.
"""

from __future__ import annotations

from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.network.models.cnn import cnn
from dni_async.network.models.mlp import mlp
from dni_async.network.models.residual import residual

__all__ = ["cnn", "make_model", "mlp", "residual"]

_MODELS = {None: mlp, "cnn": cnn, "residual": residual}


def make_model(config: RunConfig, input_shape: tuple[int, ...], num_classes: int) -> nn.Sequential:
    """The network that config names, of its layers, width and norm.

    Takes samples [B, *input_shape] float, gives logits [B, num_classes]. Raises ConfigError where
    the network needs images and the samples are none.
    """
    make = _MODELS[config.model]
    return make(input_shape, config.width, config.layers, num_classes, norm=config.norm)
