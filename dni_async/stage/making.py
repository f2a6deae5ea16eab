"""The one maker of a stage: worker, baseline and the probe of layers compute with the same."""

from __future__ import annotations

from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.stage.compilation import compile_layers
from dni_async.stage.descent.making import make_optimizer
from dni_async.stage.descent.muon import tables_of
from dni_async.stage.descent.rates import make_rate_factor
from dni_async.stage.descent.updates import Updates
from dni_async.stage.draws import Draws
from dni_async.stage.dtypes import AUTOCAST_DTYPES
from dni_async.stage.graphs.memory import lay_out, puts_channels_last
from dni_async.stage.layers import StageLayers
from dni_async.stage.losses.interface import Loss
from dni_async.stage.stage import Stage

__all__ = ["make_stage"]


def make_stage(
    layers: nn.Sequential,
    config: RunConfig,
    loss: Loss,
    *,
    index: int = 0,
    num_batches: int,
    draws: Draws,
    checks_gradients: bool = True,
    whole: nn.Module | None = None,
) -> Stage:
    """The run's stage of layers, on the device that they are on.

    num_batches: of the whole run's training, for the rate's schedule. Where the run compiles, what
    it compiles is made at the first batch; see compilation.warm_up. whole: the network that layers
    are a part of, for an optimizer of the user's own; None: layers are all.
    """
    if puts_channels_last(config):
        lay_out(layers)
    compiled = None
    if config.compile:
        compiled = compile_layers(layers, next(layers.parameters()).device)
    updates = Updates(
        layers,
        make_optimizer(
            list(layers.named_parameters()),
            config,
            None if whole is None else list(whole.named_parameters()),
            tables=tables_of(layers),
        ),
        rate_factor=make_rate_factor(config, num_batches),
        accumulate=config.accumulate,
        clip_norm=config.clip_norm,
        foretells=_updates_of_a_batch(config),
    )
    stage_layers = StageLayers(
        layers,
        has_below=index > 0,
        autocast=AUTOCAST_DTYPES[config.dtype],
        compiled=compiled,
        draws=draws,
        puts_channels_last=puts_channels_last(config),
    )
    return Stage(index, stage_layers, updates, loss=loss, checks_gradients=checks_gradients)


def _updates_of_a_batch(config: RunConfig) -> float:
    """For Updates.ahead: 0 where no update waits for a late gradient, or it is not to be used."""
    traits = config.rule_traits
    if not config.foretell_weights or traits.is_exact or not traits.waits_for_gradients:
        return 0.0
    return config.update_probability / config.accumulate
