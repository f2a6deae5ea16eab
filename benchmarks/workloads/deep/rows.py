"""The rows of the table of deep networks: what is trained, in how many stages, what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from benchmarks.workloads.deep import networks
from benchmarks.workloads.deep.samples import Kind
from dni_async.network.partition import split_layers

__all__ = ["ROWS", "Quality", "Row"]

Ranges = list[tuple[int, int]]
PLACE = networks.__name__


@dataclass(frozen=True, slots=True)
class Quality:
    """What a row is judged by, on what is held out: error in points, or loss as a ratio.

    most: how far behind backpropagation it may be. slack: what counts as having reached
    backpropagation's last quality.
    """

    figure: str
    most: float
    slack: float

    def of(self, result: dict[str, Any]) -> float:
        """Of a run's last epoch."""
        value: float = result["epochs"][-1][self.figure]
        return value

    def behind(self, ours: Sequence[float], plain: Sequence[float]) -> float:
        """How far the mean of ours is behind: a difference of errors, a ratio of losses."""
        return fmean(ours) - fmean(plain) if self.figure == "error" else fmean(ours) / fmean(plain)

    def goal(self, plain: float) -> float:
        """What has to be reached to be as good as plain, but for the slack."""
        return plain + self.slack if self.figure == "error" else plain * self.slack

    def said(self, value: float) -> str:
        """A value of behind's."""
        return f"{value:+.2f}" if self.figure == "error" else f"{value:.3f}x"


@dataclass(frozen=True, slots=True)
class Row:
    """A network in stages. ranges: of layers, of each stage; None: a layer a stage.

    samples: how many are trained on, where nothing else is said; None: all.
    """

    name: str
    network: str
    kind: Kind
    quality: Quality
    ranges: Ranges | None = None
    samples: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    lr: float = 1e-3

    @property
    def model(self) -> str:
        """As a run names it."""
        return f"{PLACE}:{self.network}"

    @property
    def is_even(self) -> bool:
        """Whether layers are dealt out by their number."""
        ranges = self.ranges
        return ranges is None or split_layers(ranges[-1][1], len(ranges)) == ranges

    def on(self, samples: int | None) -> Row:
        """The same, trained on so many samples; None: on as many as before."""
        return self if samples is None else replace(self, samples=samples)


def _error(most: float) -> Quality:
    return Quality("error", most, 0.5)


def _loss(most: float) -> Quality:
    return Quality("loss", most, 1.005)


ELEVEN_IN_4: Ranges = [(0, 2), (2, 5), (5, 8), (8, 11)]
# The embedding goes with the first block, the readout with the last.
BLOCKS_4: Ranges = [(0, 2), (2, 3), (3, 4), (4, 6)]
BLOCKS_8: Ranges = [(0, 2), *[(block, block + 1) for block in range(2, 8)], (8, 10)]
IMAGES: dict[str, Any] = {"epochs": 10, "batch_size": 64}
TEXT: dict[str, Any] = {"epochs": 3, "batch_size": 32}
ROWS = (
    Row("ResNet 8, 4 stages", "resnet_8", "images", _error(0.5), ELEVEN_IN_4, 2560, IMAGES, 3e-3),
    Row("ResNet 8, a block a stage", "resnet_8", "images", _error(1.5), None, 2560, IMAGES, 3e-3),
    Row("ResNet 16, 4 stages", "resnet_16", "images", _error(0.5), ELEVEN_IN_4, 2560, IMAGES, 3e-3),
    Row("ResNet 16, a block a stage", "resnet_16", "images", _error(1.5), None, 2560, IMAGES, 3e-3),
    Row("VGG 8, a layer a stage", "vgg_8", "images", _error(1.0), None, 2560, IMAGES, 3e-3),
    Row("VGG 16, a layer a stage", "vgg_16", "images", _error(1.0), None, 2560, IMAGES, 3e-3),
    Row("CNN 8, 4 stages", "cnn_8", "images", _error(0.3), None, 2560, IMAGES, 3e-3),
    Row("CNN 16, 4 stages", "cnn_16", "images", _error(0.3), None, 2560, IMAGES, 3e-3),
    Row("transformer 4, a block each", "transformer_4", "text", _loss(1.0), BLOCKS_4, None, TEXT),
    Row("transformer 8, a block each", "transformer_8", "text", _loss(1.01), BLOCKS_8, None, TEXT),
    Row("MLP, a layer a stage", "mlp_256", "digits", _error(0.1), None, 10000, IMAGES),
)
