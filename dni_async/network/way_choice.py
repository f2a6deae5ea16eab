"""Whether a boundary gets a copy of what lies above, and of how much of it.

By the shape of the activation and by what is above, without being told: a critic that reads outputs
off an activation pays for features that the layers above may be deaf to, and a readout of the
network's own pays for what it can see. It is taken where it costs no more than the critic would
whose place it takes; docs/decisions/0119 and 0125 have the measurements.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Final

from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.network.above import Above, Shape, Way
from dni_async.stage.dense import lone_linear
from dni_async.stage.losses.interface import Loss
from dni_async.stage.losses.readout import MAX_OUTPUTS

__all__ = ["chosen_way", "copier"]

SHARE: Final = 0.1
"""Of the next layer's products: so many a critic of images may take, however large they are."""
SHARE_ON_FEW: Final = 1.1
"""As many on so few places as there are regions: a copy of the next layer too."""


def copier(
    config: RunConfig,
    loss: Loss,
    network: nn.Sequential,
    first_layer: int,
    output_shape: Shape,
) -> Callable[[Shape], tuple[nn.Sequential, bool] | None]:
    """Makes the copy for the boundary below first_layer; it holds the layers above.

    output_shape: of what the network makes of a sample. With the copy it says whether that is of
    all that lies above; it gives None where nothing is to be copied, or cannot be.
    """
    num_places = len(output_shape) - len(loss.output_shape)
    above = Above(network, first_layer, output_shape, num_places=num_places)
    return functools.partial(_copied, config, loss, above)


def _copied(
    config: RunConfig, loss: Loss, above: Above, shape: Shape
) -> tuple[nn.Sequential, bool] | None:
    way = chosen_way(config, loss, above, shape)
    try:
        return None if way is None else (way.copied(), above.is_all(way))
    except ConfigError:
        return None


def chosen_way(config: RunConfig, loss: Loss, above: Above, shape: Shape) -> Way | None:
    """What of the layers above is copied for activations [B, *shape]; None: nothing.

    As much as is asked for; and where none is, the readout, or for images the cheapest way, if that
    is to be the critic. A critic whose hidden layers are asked for, none too, stays what it is.
    """
    if config.synthesizer == "copy":
        num_layers = config.synthesizer_layers or 0
        return above.way(shape, num_layers=num_layers, regions=config.synthesizer_pool)
    is_asked = config.synthesizer != "critic" or config.synthesizer_layers is not None
    has_rows = len(loss.output_shape) == 1
    if is_asked or not has_rows or loss.readout_size > MAX_OUTPUTS:
        return None
    most = above.num_outputs * math.prod(shape)  # as of a critic that reads every value
    if above.num_layers == 1:  # a copy of the head that learns as it does is its equal
        way = above.readout(shape)
        if way is not None and lone_linear(nn.Sequential(*way.children)) is not None:
            return way
    if len(shape) < 2:
        return None
    return _cheap_way(above, shape, config.synthesizer_pool, most)


def _cheap_way(above: Above, shape: Shape, regions: int, most: int) -> Way | None:
    """Of images on regions, or half as many in each direction, and so on, where that is cheap."""
    if len(shape) != 3 or above.num_places:
        way = above.readout(shape)
        least = 0 if above.num_places else 1  # a readout that reads every value is what a critic is
        return way if way is not None and way.products <= most - least else None
    few, of_next = regions, above.next_products(shape)
    while True:
        way = above.way(shape, regions=regions)
        if way is not None:
            share = SHARE_ON_FEW if (way.regions or max(shape[1:])) <= few else SHARE
            if way.products <= max(most, share * of_next) and not _is_critic(way, shape, most):
                return way
        if regions < 2:
            return None
        regions //= 2


def _is_critic(way: Way, shape: Shape, most: int) -> bool:
    """Whether it reads every place by itself, or every region, where there are several."""
    has_places = math.prod(shape[1:]) > 1
    return way.is_readout and (way.regions > 1 or (has_places and way.products >= most))
