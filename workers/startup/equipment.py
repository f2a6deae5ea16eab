"""Build what a worker computes with, from its seat in the run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from dni_async.config.assembly import make_stage_machine, make_stage_rule
from dni_async.config.run_config import RunConfig
from dni_async.data.inputs import Inputs
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.rules import Rule
from dni_async.network.building import build_network, cut_stage, layer_starts
from dni_async.seeding import stage_seed
from dni_async.stage.compilation import compile_layers, warm_up
from dni_async.stage.draws import Draws
from dni_async.stage.dtypes import AUTOCAST_DTYPES, WIRE_DTYPES
from dni_async.stage.optimizers import Optimizer, make_optimizer
from dni_async.stage.rates import make_rate_factor
from dni_async.stage.stage import Stage, prepare_torch
from dni_async.synthesizers import make_synthesizer
from dni_async.synthesizers.boundary import Boundary
from dni_async.synthesizers.input_synthesizer import InputSynthesizer, make_input_synthesizer
from dni_async.transport.staging import Staging
from dni_async.wire.messages import Welcome

__all__ = ["Equipment", "equip"]


@dataclass(frozen=True, slots=True)
class Equipment:
    """One stage's decisions and numbers.

    rule: what the machine decides by. inputs: where the stage reads the data. boundary,
    input_synthesizer: None where not needed.
    """

    machine: StageMachine
    rule: Rule
    stage: Stage
    staging: Staging
    boundary: Boundary | None
    inputs: Inputs | None
    input_synthesizer: InputSynthesizer | None


def equip(
    index: int,
    welcome: Welcome,
    config: RunConfig,
    *,
    start: tuple[int, int] = (1, 0),
    next_batch_id: int = 0,
) -> Equipment:
    """Build the stage that welcome assigns.

    start: epoch and index of the first training batch of a resumed run. next_batch_id: where a
    replacement goes on. Draws the whole network so that weights equal the baseline's, then keeps
    its own part. Raises DataError or ConfigError.
    """
    prepare_torch(welcome.num_threads)
    seed = stage_seed(config.seed, index)
    rule = make_stage_rule(config, seed)
    staging = Staging(
        welcome.device,
        is_exact=rule.is_exact,
        wire_dtype=WIRE_DTYPES[config.wire_dtype],
        rounding_seed=seed if config.wire_rounding == "stochastic" else None,
    )
    if staging.device.type == "cuda":
        torch.cuda.set_device(staging.device)
    network = build_network(config, welcome.input_shape, welcome.num_classes)
    layers = cut_stage(network, welcome.first_layer, welcome.end_layer).to(staging.device)
    torch.manual_seed(seed)
    is_unlocked = index > 0 and config.unlock == "forward"
    inputs = Inputs.from_config(config) if index == 0 or is_unlocked else None
    has_above = index < welcome.num_stages - 1
    boundary = None
    if has_above and rule.needs_synthesizer:
        optimizers: list[Optimizer] = []
        boundary = Boundary(
            lambda shape: make_synthesizer(
                config, shape, welcome.num_classes, staging.device, optimizers
            ),
            scale=config.synthesizer_scale,
            optimizers=optimizers,
        )
    stage = Stage(
        index,
        layers,
        make_optimizer(layers.parameters(), config),
        autocast=AUTOCAST_DTYPES[config.dtype],
        compiled=compile_layers(layers, staging.device) if config.compile else None,
        rate_factor=make_rate_factor(config, welcome.num_updates),
        accumulate=config.accumulate,
        clip_norm=config.clip_norm,
        draws=Draws(config.seed, welcome.first_layer, layer_starts(layers)),
    )
    below = cut_stage(network, 0, welcome.first_layer) if index else None
    if config.compile:
        dtype = torch.int64 if welcome.holds_ids else torch.float32
        samples = torch.zeros(config.batch_size, *welcome.input_shape, dtype=dtype)
        warm_up(stage, _pass_below(samples, below).to(staging.device), has_below=index > 0)
    input_synthesizer = None
    if is_unlocked:
        sample = torch.zeros(1, *welcome.input_shape)
        input_synthesizer = make_input_synthesizer(
            welcome.input_shape, _pass_below(sample, below).shape[1:], staging.device
        )
    machine = make_stage_machine(
        config,
        rule,
        stage=index,
        num_stages=welcome.num_stages,
        num_batches=None if inputs is None else inputs.num_batches,
        start=start,
        next_batch_id=next_batch_id,
    )
    return Equipment(
        machine=machine,
        rule=rule,
        stage=stage,
        staging=staging,
        boundary=boundary,
        inputs=inputs,
        input_synthesizer=input_synthesizer,
    )


def _pass_below(samples: torch.Tensor, below: nn.Sequential | None) -> torch.Tensor:
    """What the stages below make of samples, to know the shape and dtype of this one's inputs."""
    if below is None:
        return samples
    below.eval()
    with torch.no_grad():
        hidden: torch.Tensor = below(samples)
    return hidden
