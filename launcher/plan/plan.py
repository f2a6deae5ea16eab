"""Check all that was asked for before any process starts, and lay out who does what."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from dni_async.config.extensions import find_callable, is_extension
from dni_async.config.meant import did_you_mean_file
from dni_async.config.metric_names import default_metrics
from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.data.feed import DataFacts, Feed
from dni_async.data.opening import open_feed
from dni_async.decisions.rules import AUTO, Traits
from dni_async.errors import ConfigError
from dni_async.files.homes import own_path
from dni_async.files.weights import WeightsForm, merged
from dni_async.launcher.plan.choice import is_open
from dni_async.launcher.plan.descriptors import allow_descriptors
from dni_async.launcher.plan.devices import resolve_devices
from dni_async.launcher.plan.listening import control_address, own_address, resolve_keys
from dni_async.launcher.plan.memory import settle_memory_format
from dni_async.launcher.plan.readouts import note_readouts
from dni_async.launcher.plan.splitting import split_network
from dni_async.launcher.plan.tasks import allow_tasks
from dni_async.launcher.plan.trial import (
    Tried,
    check_last_batch,
    try_metrics,
    try_model,
    try_optimizer,
    try_stages,
)
from dni_async.network.partition import deal_devices, split_layers
from dni_async.network.split.kept import recordings_kept
from dni_async.stage.compilation import check_compiler
from dni_async.system.machine import available_cores

__all__ = ["Plan", "make_plan", "regrouped"]


@dataclass(frozen=True)
class Plan:
    """A run that can start: config with devices and folders resolved, and the stages' shares.

    num_train, num_test: samples; None where a stream does not say. input_shape: of one sample;
    holds_ids: samples are int64 ids. form: of the targets; output_shape: of one sample. layers:
    what each holds. layer_ranges: half-open, one for each stage; devices and hosts ("local" or
    "remote") likewise.
    layer_costs: seconds that each layer takes for a batch, and may_end: whether a stage may end
    behind it; empty where layers do not move by themselves.
    load: processes that wanted a core before the run, on average over a minute. notes: what the
    user should know before it starts. is_measured: what layers take has told where to cut. choice:
    how its rule was chosen, where that was left open; as report.json has it.
    """

    config: RunConfig
    dataset_name: str
    input_shape: tuple[int, ...]
    holds_ids: bool
    form: TargetForm
    output_shape: tuple[int, ...]
    num_train: int | None
    num_train_batches: int
    num_test: int | None
    num_test_batches: int
    layers: tuple[WeightsForm, ...]
    layer_ranges: list[tuple[int, int]]
    devices: list[str]
    hosts: list[str]
    cores: int
    load: float
    threads_per_worker: int
    notes: tuple[str, ...] = ()
    is_measured: bool = False
    choice: Mapping[str, Any] | None = None
    layer_costs: tuple[float, ...] = ()
    may_end: tuple[bool, ...] = ()

    @property
    def num_classes(self) -> int:
        """Of class labels; 0 where targets are none."""
        return self.form.num_classes

    @property
    def num_layers(self) -> int:
        """Of the network."""
        return len(self.layers)

    @property
    def stages(self) -> list[WeightsForm]:
        """What each stage holds, and has to leave."""
        return [merged(self.layers[first:end]) for first, end in self.layer_ranges]

    @property
    def num_updates(self) -> int:
        """Training batches of the whole run."""
        return self.config.epochs * self.num_train_batches

    @property
    def rule(self) -> Traits:
        """What the run's rule says of itself."""
        return self.config.rule_traits

    @property
    def moves(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """The moves that were asked for: the id of a batch, and the layers from there on."""
        found = []
        for num_before, counts in self.config.asked_moves:
            epochs, index = divmod(num_before, self.num_train_batches)
            bounds = [0, *accumulate(counts)]
            batch_id = epochs * (self.num_train_batches + self.num_test_batches) + index
            found.append((batch_id, list(pairwise(bounds))))
        return found

    def is_remote(self, stage: int) -> bool:
        """Whether the stage's worker joins from elsewhere."""
        return self.hosts[stage] == "remote"

    @cached_property
    def own_address(self) -> str:
        """Where local workers listen beside remote ones; the name service is asked once."""
        return own_address(self.config)

    @cached_property
    def control_address(self) -> str:
        """What --listen names, as a socket takes it; the name service is asked once."""
        return control_address(self.config)

    @property
    def num_stages(self) -> int:
        """One worker each."""
        return len(self.layer_ranges)


def regrouped(plan: Plan, ranges: Sequence[tuple[int, int]]) -> Plan:
    """The plan with these stages instead, and devices and threads dealt to them anew."""
    count = len(ranges)
    return dataclasses.replace(
        plan,
        layer_ranges=list(ranges),
        devices=deal_devices(plan.config.devices, count),
        hosts=deal_devices(_hosts(plan.config), count),
        threads_per_worker=_threads(plan.config, plan.cores, count),
    )


@recordings_kept()
def make_plan(config: RunConfig, tell: Callable[[str], None] = lambda text: None) -> Plan:
    """Load the data, build what must be tried, count devices. tell: is told what takes a while.

    Raises ConfigError (DataError for data) with a sentence that names the setting.
    """
    folder = _data_folder(config)
    config = dataclasses.replace(
        config,
        data=_resolve_data(config.data),
        data_dir=None if folder is None else str(folder),
    )
    tell("importing torch")
    importlib.import_module("torch")
    tell("reading the data")
    with closing(open_feed(config, fetches="here")) as feed:
        return _planned(config, feed, tell)


def _planned(config: RunConfig, feed: Feed, tell: Callable[[str], None]) -> Plan:
    """The plan of a run whose data are open."""
    facts = feed.facts
    tell("trying the network on a few samples")
    if facts.batch_size is not None:
        config = dataclasses.replace(config, batch_size=facts.batch_size)
    config, notes = split_network(config, facts)
    tried = _tried(config, facts, feed)
    num_layers = len(tried.layers)
    config.make_rule()  # a user's own may not import, or not go with the rest
    if is_extension(config.synthesizer):
        find_callable("synthesizer", config.synthesizer)
    layer_ranges = split_layers(num_layers, config.num_stages)
    notes += try_optimizer(config, feed)
    if config.rule != AUTO:  # else when that is chosen
        notes += note_readouts(config, feed, layer_ranges, tried.output_shape)
    allow_descriptors(len(layer_ranges))
    allow_tasks(len(layer_ranges))
    devices = resolve_devices(config.devices)
    if config.compile:
        check_compiler(devices)
    cores = available_cores()
    plan = Plan(
        config=dataclasses.replace(
            config,
            devices=tuple(devices),
            keys=resolve_keys(config),
            metrics=_measured(config, tried),
        ),
        dataset_name=facts.name,
        input_shape=facts.input_shape,
        holds_ids=facts.holds_ids,
        form=tried.form,
        output_shape=tried.output_shape,
        num_train=facts.num_train,
        num_train_batches=feed.num_batches[0],
        num_test=facts.num_test,
        num_test_batches=feed.num_batches[1],
        layers=tried.layers,
        layer_ranges=layer_ranges,
        devices=deal_devices(devices, len(layer_ranges)),
        hosts=deal_devices(_hosts(config), len(layer_ranges)),
        cores=cores,
        load=os.getloadavg()[0],
        threads_per_worker=_threads(config, cores, len(layer_ranges)),
        notes=tuple(notes),
    )
    try_metrics(plan.config, feed, tried)
    open_stages = is_open(
        plan.config, num_layers=num_layers, num_stages=plan.num_stages, cores=cores
    )
    whole = [(0, num_layers)]  # the stages are tried when they are chosen
    ranges = whole if open_stages else layer_ranges
    tell("trying the stages on a few samples")
    settled = settle_memory_format(
        plan.config,
        facts,
        plan.devices,
        lambda config: try_stages(config, feed, ranges, tried.output_shape),
    )
    return dataclasses.replace(plan, config=settled)


def _measured(config: RunConfig, tried: Tried) -> tuple[str, ...]:
    """What the run measures, asked for or not, now that the network's outputs are known."""
    if config.metrics is None:
        defaults = default_metrics(config.taken, tried.form, tried.output_shape)
        config = dataclasses.replace(config, metrics=defaults)
    return config.measured


def _data_folder(config: RunConfig) -> Path | None:
    """Where the files of data sets lie, if anything says so."""
    data_dir = config.data_dir or os.environ.get("DNI_DATA_DIR") or None
    folder = None if data_dir is None else own_path(data_dir, setting="data_dir").resolve()
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"data_dir: {folder} is no folder{did_you_mean_file(folder)}")
    return folder


def _tried(config: RunConfig, facts: DataFacts, feed: Feed) -> Tried:
    """The network, which takes these data. Raises ConfigError where it does not."""
    num_train = facts.num_train
    if num_train is not None and config.batch_size > num_train:
        raise ConfigError(
            f"batch_size: {config.batch_size} is larger than the {num_train} training samples "
            f"of {facts.name}"
        )
    if facts.is_stream:
        _check_stream(config, facts)
    if not feed.num_batches[1]:
        _check_untested(config)
    has_places = facts.form.num_classes > 0 and bool(facts.form.shape)
    if config.model is None and (facts.holds_ids or has_places):
        what = "int64 ids" if facts.holds_ids else "a label for each position"
        raise ConfigError(
            f"model: {facts.name} holds {what}, which the built-in MLP does not take; name a "
            "model of your own"
        )
    tried = try_model(config, feed)
    if facts.holds_ids and config.unlock == "forward":
        raise ConfigError(
            f"unlock: forward predicts inputs from numbers, but {facts.name} holds int64 ids"
        )
    if config.norm == "batch" and config.model is None:
        check_last_batch(config, num_train)
    return tried


def _check_stream(config: RunConfig, facts: DataFacts) -> None:
    """Raises ConfigError for what asks for arrays."""
    if config.unlock == "forward":
        raise ConfigError(
            "unlock: with forward every stage reads the data, but a stream is read by the first "
            "alone; give arrays, or leave it out"
        )
    if facts.lacks_classes and (config.model is None or not is_extension(config.model)):
        raise ConfigError(
            f"model: {config.model or 'the MLP'} has an output for each class, but a stream does "
            "not say how many there are; give a network of your own"
        )


def _check_untested(config: RunConfig) -> None:
    """Raises ConfigError for what asks for a test, where there is nothing to test on."""
    asked = {"target": config.target is not None, "early_stop": config.early_stop}
    asked |= {"patience": config.patience is not None, "keep_best": config.keep_best}
    for name, is_asked in asked.items():
        if is_asked:
            raise ConfigError(
                f"{name}: there is nothing to test on, and so nothing to go by; give a test part, "
                "data=(training, test), or leave it out"
            )


def _hosts(config: RunConfig) -> tuple[str, ...]:
    return ("remote",) if config.engine == "ray" else config.workers


def _threads(config: RunConfig, cores: int, num_stages: int) -> int:
    """As asked; else the cores shared out, but on a cluster, whose cores are not this host's."""
    shared = 1 if config.engine == "ray" else max(1, cores // num_stages)
    return config.threads_per_worker or shared


def _resolve_data(name: str) -> str:
    """Workers run in the same folder, but a report should say which file it was."""
    return str(own_path(name, setting="data").resolve()) if name.endswith(".npz") else name
