"""The same network as a line of stages, each made as its worker makes it, in one process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from dni_async.config.copies import copied, hooked_parameters
from dni_async.config.run_config import RunConfig
from dni_async.network.building import cut_stage, layer_starts
from dni_async.stage.draws import Draws
from dni_async.stage.losses.interface import Loss
from dni_async.stage.making import make_stage
from dni_async.stage.own_state import OwnState, take
from dni_async.stage.stage import Stage
from dni_async.stage.values import Gradient, Hidden, Values, arranged, gathered, structure_of

__all__ = ["Line", "StageFailed", "plain"]

MANY_PARAMETERS = 50_000_000  # to be drawn by all stages together


class StageFailed(Exception):
    """A stage raises where the whole network did not. stage: which."""

    def __init__(self, stage: int, error: Exception) -> None:
        super().__init__(str(error))
        self.stage, self.error = stage, error


class Line:
    """Stages that nothing but tensors passes between: each is cut out of a network of its own.

    make: the whole network, made anew at each call. ranges: half-open, of layers.
    """

    def __init__(
        self,
        make: Callable[[], nn.Sequential],
        ranges: Sequence[tuple[int, int]],
        config: RunConfig,
        loss: Loss,
    ) -> None:
        self.stages: list[Stage] = []
        for index, (layers, whole) in enumerate(_separate(make, ranges)):
            first = ranges[index][0]
            draws = Draws(config.seed, first, layer_starts(layers))
            stage = make_stage(
                layers, config, loss, index=index, num_batches=1, draws=draws, whole=whole
            )
            self.stages.append(stage)
        self.hidden: list[Hidden] = []

    def forward(
        self,
        batch_id: int,
        x: torch.Tensor,
        *,
        replays: bool,
        is_late: bool,
        between: Callable[[int], None],
    ) -> Hidden:
        """Pass a batch up; what the head gives. Each stage's output stays in hidden.

        replays: all but the head keep inputs alone. is_late: their graphs, if they keep them, go
        through the weights that are there when the gradient comes. between: called with each stage
        before it. Raises StageFailed.
        """
        self.hidden = []
        hidden = gathered(x)
        for stage in self.stages:
            is_head = stage is self.stages[-1]
            between(stage.index)
            try:
                hidden = stage.forward(
                    batch_id,
                    _handed_over(hidden),
                    needs_input_gradient=stage.index > 0,
                    keeps_graph=is_head or not replays,
                    is_late=is_late and not is_head,
                )
            except Exception as error:
                raise StageFailed(stage.index, error) from error
            self.hidden.append(hidden)
        return hidden

    def pull_back(self, batch_id: int, gradient: torch.Tensor) -> None:
        """Pass the head's gradient down; every parameter's is left. Raises StageFailed."""
        returned: Gradient | None = gradient
        for stage in reversed(self.stages):
            assert returned is not None
            try:
                returned = stage.pull_back(batch_id, returned, source="gradient of the trial")
            except Exception as error:
                raise StageFailed(stage.index, error) from error

    def evaluate(self, x: torch.Tensor) -> Hidden:
        """What the head gives in evaluation mode. Raises StageFailed."""
        self.hidden = []
        hidden = gathered(x)
        for stage in self.stages:
            try:
                hidden = stage.evaluate(_handed_over(hidden))
            except Exception as error:
                raise StageFailed(stage.index, error) from error
            self.hidden.append(hidden)
        return hidden

    def weights(self) -> dict[str, torch.Tensor]:
        """All stages' state dicts, what is no tensor left out."""
        return {
            name: value.detach().clone()
            for stage in self.stages
            for name, value in stage.layers.state_dict().items()
            if isinstance(value, torch.Tensor)
        }

    def own_state(self) -> OwnState:
        """What all stages' modules keep beside that."""
        whole = OwnState()
        for stage in self.stages:
            state = take(stage.layers, stage.marks)
            whole.values.update(state.values)
            whole.tensors.update(state.tensors)
            whole.left.update(state.left)
        return whole


def _handed_over(hidden: Hidden) -> Hidden:
    """A copy, as it comes out at the upper end of a link."""
    if isinstance(hidden, Values):
        text = hidden.structure.text
        return arranged([tensor.clone() for tensor in hidden.tensors], structure_of(text))
    return hidden.clone()


def _separate(
    make: Callable[[], nn.Sequential], ranges: Sequence[tuple[int, int]]
) -> Iterator[tuple[nn.Sequential, nn.Sequential]]:
    """The layers of each stage, which have no object in common with another's, and their network.

    Of large networks copies: those may have one, in what a function has closed over.
    """
    network = make()
    size = sum(parameter.numel() for parameter in network.parameters())
    if size * len(ranges) > MANY_PARAMETERS and not list(hooked_parameters(network)):
        yield from ((copied(cut_stage(network, *layers)), network) for layers in ranges)
        return
    for layers in ranges:
        yield cut_stage(network, *layers), network
        network = make()


def plain(config: RunConfig) -> RunConfig:
    """The settings without those that treat stages apart, or some updates unlike others."""
    return dataclasses.replace(
        config,
        clip_norm=None,
        accumulate=1,
        compile=False,
        lr_schedule="constant",
        warmup_updates=0,
    )
