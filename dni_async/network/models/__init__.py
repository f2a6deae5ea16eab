"""The networks that a run can name: an MLP, a convolutional and a residual network.

Each is an nn.Sequential with one child per layer, so that it can be cut between any two.
"""

from __future__ import annotations

import math

from torch import nn

from dni_async.config.names import MODELS, ModelTraits
from dni_async.config.run_config import RunConfig
from dni_async.network.models.cnn import cnn
from dni_async.network.models.mlp import mlp
from dni_async.network.models.residual import residual

__all__ = ["cnn", "make_model", "mlp", "residual"]

_MODELS = {None: mlp, "cnn": cnn, "residual": residual}


def make_model(
    config: RunConfig, input_shape: tuple[int, ...], output_shape: int | tuple[int, ...]
) -> nn.Sequential:
    """The network that config names, of its layers, width and norm.

    Takes samples [B, *input_shape] float, gives [B, *output_shape]. Raises ConfigError where
    the network needs images and the samples are none.
    """
    make = _MODELS[config.model]
    shape = (output_shape,) if isinstance(output_shape, int) else output_shape
    outputs = math.prod(shape)
    width = config.width or MODELS.get(config.model or "", ModelTraits()).width
    network = make(input_shape, width, config.layers, outputs, norm=config.norm)
    if len(shape) != 1:
        last = network[-1]
        assert isinstance(last, nn.Sequential)
        last.append(nn.Unflatten(1, shape) if shape else nn.Flatten(0))
    return network
