"""The one maker of a boundary with the synthesizer that a run names."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import cast

import torch

from dni_async.config.extensions import make_extension
from dni_async.config.names import OWN_SYNTHESIZER, SYNTHESIZERS, SynthesizerTraits
from dni_async.config.run_config import RunConfig
from dni_async.stage.dense import lone_linear
from dni_async.stage.descent.optimizers import Adam, Optimizer
from dni_async.stage.dtypes import AUTOCAST_DTYPES
from dni_async.stage.losses.interface import Loss
from dni_async.stage.losses.readout import readout_of
from dni_async.synthesizers.boundary import Boundary
from dni_async.synthesizers.copies import CopySynthesizer, LinearCopy
from dni_async.synthesizers.copy_descent import copy_optimizer
from dni_async.synthesizers.interface import CopyAbove, MakeOptimizer, Order, Synthesizer

__all__ = ["make_boundary", "make_synthesizer"]


def make_boundary(
    config: RunConfig,
    loss: Loss,
    device: torch.device,
    copy_above: CopyAbove | None = None,
    *,
    num_batches: int = 1,
) -> Boundary:
    """The run's boundary; its synthesizer is made at the first activation.

    copy_above: is held until then, and what it holds; None: nothing that lies above is copied.
    num_batches: of the whole run's training, for the schedule of a copy's rate.
    """
    _find_maker(config)  # imported now, and not while the first batch is timed
    traits = _traits(config)
    optimizers: list[Optimizer] = []

    def make_whole(shape: tuple[int, ...]) -> Synthesizer | None:
        copied = None if copy_above is None else copy_above(shape)
        if copied is None:
            return None
        network, is_whole = copied

        def optimize(parameters: list[torch.Tensor]) -> Optimizer:
            made = copy_optimizer(config, network, parameters, num_batches, is_whole=is_whole)
            optimizers.append(made)
            return made

        linear = lone_linear(network) if len(loss.output_shape) == 1 else None
        if linear is not None and is_whole and loss.of_readout is loss:
            return LinearCopy(linear, loss, optimize, device=device)
        return CopySynthesizer(
            network,
            loss,
            optimize,
            autocast=AUTOCAST_DTYPES[config.dtype],
            device=device,
        )

    return Boundary(
        lambda shape: make_synthesizer(config, shape, loss, device, optimizers),
        loss,
        scale=config.synthesizer_scale,
        optimizers=optimizers,
        # A copy says so itself, and may have a critic in its place, which does not.
        takes_any_size=traits.takes_any_size and traits.copied_layers is None,
        make_whole=make_whole,
    )


def make_synthesizer(
    config: RunConfig,
    shape: tuple[int, ...],
    loss: Loss,
    device: torch.device,
    optimizers: list[Optimizer] | None = None,
) -> Synthesizer:
    """The run's synthesizer for activations [N, *shape].

    Trained by Adam whatever the run's optimizer is, as plain descent does not converge for them.
    optimizers: gets each of them, in the order in which they are made.
    A class of the user's own is made as Class(shape, num_labels, optimize, device=device). Where a
    critic would have too much to read out, one is made that returned gradients teach.
    Raises ConfigError when it cannot be made, is no Synthesizer, or needs images and gets none.
    """
    loss = loss.of_readout
    config = _for_shape(config, shape, loss)
    optimize = _optimize(config, loss, optimizers)
    return _find_maker(config)(Order(config, shape, loss, optimize, device))


def _optimize(config: RunConfig, loss: Loss, optimizers: list[Optimizer] | None) -> MakeOptimizer:
    """An Adam over some tensors; optimizers gets each."""
    lr = config.synthesizer_lr or _usual_lr(_traits(config), loss)

    def optimize(parameters: list[torch.Tensor]) -> Optimizer:
        made = Adam(parameters, lr=lr, clip_norm=config.synthesizer_clip)
        if optimizers is not None:
            optimizers.append(made)
        return made

    return optimize


def _for_shape(config: RunConfig, shape: tuple[int, ...], loss: Loss) -> RunConfig:
    """Which synthesizer it is. Raises ConfigError where the rule goes with a critic alone."""
    if config.synthesizer == "copy":  # where nothing above can be copied
        config = dataclasses.replace(config, synthesizer="critic", synthesizer_layers=None)
    if config.synthesizer != "critic" or readout_of(shape, loss) is not None:
        return config
    name = "conv" if len(shape) == 3 else "linear"
    return dataclasses.replace(
        config, synthesizer=name, synthesizer_layers=None, synthesizer_width=None
    )


def _traits(config: RunConfig) -> SynthesizerTraits:
    return SYNTHESIZERS.get(config.synthesizer, OWN_SYNTHESIZER)


def _usual_lr(traits: SynthesizerTraits, loss: Loss) -> float:
    """By what the targets are."""
    if traits.lr_of_numbers is not None and loss.target_dtype.is_floating_point:
        return traits.lr_of_numbers
    return traits.lr


def _find_maker(config: RunConfig) -> Callable[[Order], Synthesizer]:
    maker = _traits(config).maker
    if not maker:
        return _own
    module, _, name = maker.partition(":")
    found: Callable[[Order], Synthesizer] = getattr(importlib.import_module(module), name)
    return found


def _own(order: Order) -> Synthesizer:
    name = order.config.synthesizer
    num_labels = 0 if order.encoding is None else order.encoding.width
    made = make_extension(
        "synthesizer",
        name,
        ("parameters", "predict", "learn"),
        order.shape,
        num_labels,
        order.optimize,
        device=order.device,
    )
    return cast("Synthesizer", made)
