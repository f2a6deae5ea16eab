"""Build what a worker computes with, from its seat in the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import nn

from dni_async.config.assembly import make_stage_machine, make_stage_rule
from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.data.feed import Feed
from dni_async.data.opening import open_feed
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.rules import Rule
from dni_async.network.building import build_network, cut_stage, layer_starts
from dni_async.network.way_choice import copier
from dni_async.seeding import stage_seed
from dni_async.stage.compilation import warm_up
from dni_async.stage.draws import Draws
from dni_async.stage.dtypes import WIRE_DTYPES
from dni_async.stage.losses.catalog import run_loss
from dni_async.stage.making import make_stage
from dni_async.stage.stage import Stage
from dni_async.stage.threads import prepare_torch
from dni_async.stage.values import Hidden, each, gathered
from dni_async.stage.volatile import undone
from dni_async.synthesizers.boundary import Boundary
from dni_async.synthesizers.input_synthesizer import InputSynthesizer, make_input_synthesizer
from dni_async.synthesizers.making import make_boundary
from dni_async.transport.staging import Staging
from dni_async.wire.messages import Welcome

__all__ = ["Equipment", "equip"]


@dataclass(slots=True)
class Equipment:
    """One stage's decisions and numbers.

    rule: what the machine decides by. inputs: where the stage reads the data. boundary,
    input_synthesizer: None where not needed. remake: gives the stage and boundary of other layers.
    """

    machine: StageMachine
    rule: Rule
    stage: Stage
    staging: Staging
    boundary: Boundary | None
    inputs: Feed | None
    input_synthesizer: InputSynthesizer | None
    remake: Callable[[Welcome], tuple[Stage, Boundary | None]] | None = field(
        default=None, init=False
    )

    @property
    def version(self) -> int:
        """How many updates the stage has made."""
        return self.stage.version

    def regroup(self, welcome: Welcome) -> None:
        """Hold the layers that welcome names, as the seed draws them, and nothing else."""
        assert self.remake is not None
        self.stage, self.boundary = self.remake(welcome)


def equip(
    index: int,
    welcome: Welcome,
    config: RunConfig,
    *,
    start: tuple[int, int] = (1, 0),
    next_batch_id: int = 0,
    is_replacement: bool = False,
    fetches: Literal["ahead", "in turn"] = "ahead",
    feed: Feed | None = None,
) -> Equipment:
    """Build the stage that welcome assigns.

    start: epoch and index of the first training batch of a resumed run. next_batch_id: where a
    replacement goes on; is_replacement: a worker has died there. fetches: how the batches of a
    stream come. feed: what gives batches in the place of the run's own. Draws the whole network so
    that weights equal the baseline's, then keeps its own part. Raises DataError or ConfigError.
    """
    prepare_torch(welcome.num_threads)
    seed = stage_seed(config.seed, index)
    rule = make_stage_rule(config, seed)
    staging = _make_staging(welcome, config, seed, is_exact=rule.is_exact)
    form = _target_form(welcome, config)
    network = build_network(config, welcome.input_shape, form.output_shape)
    torch.manual_seed(seed)
    has_boundary = index < welcome.num_stages - 1 and rule.needs_synthesizer
    remake = partial(_numbers, index, config, staging.device, has_boundary)
    stage, boundary = remake(welcome, network)
    below = cut_stage(network, 0, welcome.first_layer)
    if config.compile:
        warm_up(stage, _pass_below(below, welcome, config.batch_size))
    input_synthesizer = None
    is_unlocked = index > 0 and config.unlock == "forward"
    if index > 0 and not is_unlocked:
        feed = None
    elif feed is None:
        feed = open_feed(config, form=form, fetches=fetches)
    if is_unlocked:
        first = _pass_below(below, welcome, 1)
        assert isinstance(first, torch.Tensor)  # the network was tried
        input_synthesizer = make_input_synthesizer(
            welcome.input_shape, first.shape[1:], staging.device
        )
    machine = make_stage_machine(
        config,
        rule,
        stage=index,
        num_stages=welcome.num_stages,
        num_batches=None if feed is None else feed.num_batches,
        start=start,
        next_batch_id=next_batch_id,
        is_replacement=is_replacement,
    )
    equipment = Equipment(
        machine=machine,
        rule=rule,
        stage=stage,
        staging=staging,
        boundary=boundary,
        inputs=feed,
        input_synthesizer=input_synthesizer,
    )
    equipment.remake = remake
    return equipment


def _numbers(
    index: int,
    config: RunConfig,
    device: torch.device,
    has_boundary: bool,
    welcome: Welcome,
    network: nn.Sequential | None = None,
) -> tuple[Stage, Boundary | None]:
    """The layers that welcome names, and the boundary above them. network: the whole one, if that
    has been drawn from the seed already.
    """
    form = _target_form(welcome, config)
    if network is None:
        network = build_network(config, welcome.input_shape, form.output_shape)
    layers = cut_stage(network, welcome.first_layer, welcome.end_layer).to(device)
    loss = run_loss(config, form, welcome.output_shape[1:])
    stage = make_stage(
        layers,
        config,
        loss,
        index=index,
        num_batches=welcome.num_updates,
        draws=Draws(config.seed, welcome.first_layer, layer_starts(layers)),
        whole=network,
    )
    if not has_boundary:
        return stage, None
    copy_above = copier(config, loss, network, welcome.end_layer, welcome.output_shape[1:])
    num_batches = welcome.num_updates
    return stage, make_boundary(config, loss, device, copy_above, num_batches=num_batches)


def _target_form(welcome: Welcome, config: RunConfig) -> TargetForm:
    return TargetForm(
        welcome.num_classes,
        welcome.target_shape[1:],
        "int64" if welcome.target_dtype == "int64" else "float32",
        config.taken.ignore_index if welcome.has_ignored else None,
    )


def _make_staging(welcome: Welcome, config: RunConfig, seed: int, *, is_exact: bool) -> Staging:
    """The stage's way between device and links; its GPU, if it has one, becomes the present one."""
    staging = Staging(
        welcome.device,
        is_exact=is_exact,
        wire_dtype=WIRE_DTYPES[config.wire_dtype],
        rounding_seed=seed if config.wire_rounding == "stochastic" else None,
    )
    if staging.device.type == "cuda":
        torch.cuda.set_device(staging.device)
    return staging


def _pass_below(below: nn.Sequential, welcome: Welcome, num_samples: int) -> Hidden:
    """What the stages below make of zeros: of the shape and dtype of this one's inputs."""
    dtype = torch.int64 if welcome.holds_ids else torch.float32
    samples = torch.zeros(num_samples, *welcome.input_shape, dtype=dtype)
    below.eval()
    with torch.no_grad():
        given = below(samples)
    if not isinstance(given, torch.Tensor):  # then a graph tells which values need a gradient
        with torch.random.fork_rng(devices=[]), undone(below):
            given = below.train()(samples)
    return each(gathered(given), torch.Tensor.detach)
