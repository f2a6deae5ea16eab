"""The layers above a boundary, and the cheapest way through them from an activation to outputs.

Every worker builds the whole network, so what lies above its stage is at hand, as it was drawn. A
readout is the end of it that takes an activation as it is: the last layer, with what stands before
it and multiplies nothing (a norm, an activation, a mean over places). Where no readout takes an
activation, layers that change its shape come before one: those of the cheapest way, which leaves
out all that keep the shape. All is found out by running layers on zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import nn

from dni_async.config.copies import copied, hooked_parameters
from dni_async.errors import ConfigError
from dni_async.network.building import cut_stage, layer_starts
from dni_async.network.operations import Operations
from dni_async.stage.dense import flattened

__all__ = ["Above", "Shape", "Way"]

_NUM_ROWS = 2  # of the batch of zeros
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """Children that lead from an activation to outputs. products: multiplications for a sample.

    is_readout: they are the network's end, with no layer before that. regions: places in each
    direction that an activation [B, C, H, W] is brought to before them, by means; 0: none.
    """

    children: tuple[nn.Module, ...]
    products: int
    is_readout: bool
    regions: int = 0

    def copied(self) -> nn.Sequential:
        """A copy of the children, which share nothing with them. Raises ConfigError."""
        whole = nn.Sequential(*self.children)
        for name in hooked_parameters(whole):
            raise ConfigError(f"model: {name} has a hook on its gradient, which no copy has")
        network = copied(whole)
        if self.regions:
            network.insert(0, nn.AdaptiveAvgPool2d(self.regions))
        return network


@dataclass(frozen=True, slots=True)
class _Ran:
    """What some children made of zeros [2, *shape]; products as in Way."""

    shape: Shape
    products: int


class Above:
    """The layers of network from first_layer on; they stay as they are.

    output_shape: of what the network makes of a sample. num_places: how many of its first sizes are
    those of the activation, as where each position of a sequence has outputs.
    """

    def __init__(
        self,
        network: nn.Sequential,
        first_layer: int,
        output_shape: Shape,
        *,
        num_places: int = 0,
    ) -> None:
        count = len(layer_starts(network))
        self._layers = [
            tuple(cut_stage(network, index, index + 1)) for index in range(first_layer, count)
        ]
        self._output_shape, self.num_places = output_shape, num_places
        self._ran: dict[tuple[int, Shape], _Ran | None] = {}

    @property
    def num_layers(self) -> int:
        """How many there are."""
        return len(self._layers)

    @property
    def num_outputs(self) -> int:
        """Of a sample, which each place is one of where each has outputs of its own."""
        return math.prod(self._output_shape[self.num_places :])

    def is_all(self, way: Way) -> bool:
        """Whether a way leaves nothing out of what lies above."""
        return not way.regions and len(way.children) == sum(map(len, self._layers))

    def readout(self, shape: Shape) -> Way | None:
        """The readout that takes activations [B, *shape] as they are, if one does."""
        with _evaluating(self._layers):
            return self._readout(0, shape, self._outputs(shape))

    def next_products(self, shape: Shape) -> int:
        """Multiplications of the next layer for a sample of activations [B, *shape]; 0 if none."""
        with _evaluating(self._layers[:1]):
            ran = self._layer(0, shape)
        return 0 if ran is None else ran.products

    def way(self, shape: Shape, *, num_layers: int = 0, regions: int = 0) -> Way | None:
        """The cheapest way of activations [B, *shape] to the network's outputs [B, ...].

        num_layers: those that it begins with, whatever shape they give. regions: see Way; of images
        with more places, that no readout takes, and not where outputs are maps of all places. All
        that lies above is the way where there is no cheaper one; None where zeros do not pass that
        as one tensor.
        """
        if regions and len(shape) == 3 and min(shape[1:]) > regions:
            readout = None if num_layers else self.readout(shape)
            return (
                readout
                or self._on_regions(shape, num_layers, regions)
                or self._way(shape, num_layers)
            )
        return self._way(shape, num_layers)

    def _on_regions(self, shape: Shape, num_layers: int, regions: int) -> Way | None:
        """Where none leads on from so few places, one without what would bring them to fewer.

        A readout of a fixed number of places lets nothing else through.
        """
        outputs = self._outputs(shape)
        with _evaluating(self._layers):
            smaller = (shape[0], regions, regions)
            found = self._begun(smaller, num_layers, outputs)
            if found is None and not num_layers:
                found = self._cheapest(0, smaller, outputs, keeps_places=True)
        return None if found is None else replace(found, regions=regions)

    def _way(self, shape: Shape, num_layers: int) -> Way | None:
        outputs = self._outputs(shape)
        with _evaluating(self._layers):
            found = self._begun(shape, num_layers, outputs)
            if found is not None:
                return found
            every = self._joined(0, len(self._layers))
            ran = _run(every, shape)
        return None if ran is None or ran.shape != outputs else Way(every, ran.products, False)

    def _outputs(self, shape: Shape) -> Shape:
        """What an activation of that shape is to come to."""
        count = self.num_places
        return (*shape[:count], *self._output_shape[count:])

    def _begun(self, shape: Shape, num_layers: int, outputs: Shape) -> Way | None:
        """With the first layers, then the cheapest way; None where that is all of them."""
        if num_layers >= len(self._layers):
            return None
        begun = self._joined(0, num_layers)
        ran = _run(begun, shape) if begun else _Ran(shape, 0)
        rest = None if ran is None else self._cheapest(num_layers, ran.shape, outputs)
        if ran is None or rest is None or not begun:
            return rest
        return Way((*begun, *rest.children), ran.products + rest.products, False)

    def _cheapest(
        self, first: int, shape: Shape, outputs: Shape, *, keeps_places: bool = False
    ) -> Way | None:
        """From layer first on; each step is a layer that gives another shape, or the readout.

        keeps_places: without children of layers that only bring an image to fewer places.
        """
        readout = self._readout(first, shape, outputs)
        if readout is not None:
            return readout
        ways = []
        for index in range(first, len(self._layers) - 1):
            if keeps_places:
                layer = _keeping(self._layers[index], shape)
                ran = _run(layer, shape)
            else:
                layer, ran = self._layers[index], self._layer(index, shape)
            if ran is None or ran.shape == shape:
                continue
            rest = self._cheapest(index + 1, ran.shape, outputs, keeps_places=keeps_places)
            if rest is not None:
                children = (*layer, *rest.children)
                ways.append(Way(children, ran.products + rest.products, False))
        return min(ways, key=lambda way: way.products, default=None)

    def _readout(self, first: int, shape: Shape, outputs: Shape) -> Way | None:
        """The end of the network that takes shape, as long as it is no dearer than the shortest."""
        last = self._layers[-1]
        before = self._layers[-2][1:] if first < len(self._layers) - 1 else ()
        found: Way | None = None
        for begin in range(len(before), -1, -1):
            children = (*before[begin:], *last)
            ran = _run(children, shape)
            if ran is None or ran.shape != outputs:
                continue
            if found is not None and ran.products > found.products:
                break
            found = Way(children, ran.products, True)
        return found

    def _layer(self, index: int, shape: Shape) -> _Ran | None:
        if (index, shape) not in self._ran:
            self._ran[index, shape] = _run(self._layers[index], shape)
        return self._ran[index, shape]

    def _joined(self, first: int, end: int) -> tuple[nn.Module, ...]:
        return tuple(child for layer in self._layers[first:end] for child in layer)


def _run(children: Sequence[nn.Module], shape: Shape) -> _Ran | None:
    """None where zeros of that shape do not pass, or come out as anything but one tensor."""
    weights = chain.from_iterable(child.parameters() for child in children)
    first = next(weights, None)
    hidden = torch.zeros(_NUM_ROWS, *shape, device=None if first is None else first.device)
    counted = Operations()  # type: ignore[no-untyped-call]
    try:
        with counted, torch.no_grad(), torch.random.fork_rng(devices=[]):
            for child in children:
                hidden = child(hidden)
        outputs = tuple(hidden.shape)
    except Exception:  # whatever a module raises at what it was not made for
        return None
    if not outputs or outputs[0] != _NUM_ROWS:
        return None
    return _Ran(outputs[1:], math.ceil(counted.flops / (2 * _NUM_ROWS)))


def _keeping(children: Sequence[nn.Module], shape: Shape) -> tuple[nn.Module, ...]:
    """Children without those that multiply nothing and bring an image [C, H, W] to fewer places.

    A sequence among them counts as what it is made of.
    """
    kept: list[nn.Module] = []
    for child in flattened(children):
        ran = _run([child], shape)
        if ran is None:  # the rest cannot be looked at
            return tuple(children)
        places = len(ran.shape) == len(shape) == 3
        if places and not ran.products and math.prod(ran.shape[1:]) < math.prod(shape[1:]):
            continue
        kept.append(child)
        shape = ran.shape
    return tuple(kept)


@contextmanager
def _evaluating(layers: Sequence[Sequence[nn.Module]]) -> Iterator[None]:
    """So that nothing in layers changes by running them."""
    children = [child for layer in layers for child in layer]
    modes = {module: module.training for child in children for module in child.modules()}
    try:
        for child in children:
            child.eval()
        yield
    finally:
        for module, is_training in modes.items():
            module.training = is_training
