"""Check all that was asked for before any process starts, and lay out who does what."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dni_async.addresses import address_towards, try_listening
from dni_async.config.extensions import find_callable, is_extension
from dni_async.config.run_config import RunConfig
from dni_async.data import Dataset, load_dataset
from dni_async.decisions.rules import Traits
from dni_async.errors import ConfigError
from dni_async.launcher.plan.descriptors import allow_descriptors
from dni_async.network.partition import deal_devices, split_layers
from dni_async.stage.compilation import check_compiler
from dni_async.system import available_cores, has_nvidia_device
from dni_async.transport.keys import read_keys

__all__ = ["Plan", "make_plan", "regrouped"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that can start: config with devices and folders resolved, and the stages' shares.

    num_test_labels: one a test sample, or one a position. input_shape: of one sample; holds_ids:
    samples are int64 ids. layer_ranges: half-open, one for each stage; devices and hosts
    ("local" or "remote") likewise. load:
    processes that wanted a core before the run, on average over a minute.
    """

    config: RunConfig
    dataset_name: str
    input_shape: tuple[int, ...]
    holds_ids: bool
    num_classes: int
    num_train: int
    num_test: int
    num_test_labels: int
    num_layers: int
    layer_ranges: list[tuple[int, int]]
    devices: list[str]
    hosts: list[str]
    cores: int
    load: float
    threads_per_worker: int

    @property
    def num_updates(self) -> int:
        """Training batches of the whole run."""
        return self.config.epochs * -(-self.num_train // self.config.batch_size)

    @property
    def rule(self) -> Traits:
        """What the run's rule says of itself."""
        return self.config.rule_traits

    def is_remote(self, stage: int) -> bool:
        """Whether the stage's worker joins from elsewhere."""
        return self.hosts[stage] == "remote"

    @property
    def own_address(self) -> str:
        """Where local workers listen beside remote ones: as --listen says, or on any address."""
        host = self.config.listen_host
        if host != "0.0.0.0":
            return socket.gethostbyname(host)
        try:
            return address_towards()
        except OSError:  # nowhere else
            return "127.0.0.1"

    @property
    def control_address(self) -> str:
        """What --listen names, as a socket takes it."""
        host, port = self.config.listen_host, (self.config.listen or ":0").rpartition(":")[2]
        return f"tcp://{socket.gethostbyname(host)}:{port}"

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


def make_plan(config: RunConfig) -> Plan:
    """Load the data, build what must be tried, count devices.

    Raises ConfigError (DataError for data) with a sentence that names the setting.
    """
    data_dir = config.data_dir or os.environ.get("DNI_DATA_DIR") or None
    folder = None if data_dir is None else Path(data_dir).expanduser().resolve()
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"data_dir: {folder} is no folder")
    dataset = load_dataset(_resolve_data(config.data), folder)
    num_train = len(dataset.y_train)
    if config.batch_size > num_train:
        raise ConfigError(
            f"batch_size: {config.batch_size} is larger than the {num_train} training samples "
            f"of {dataset.name}"
        )
    num_layers = config.layers
    if config.model is not None:
        num_layers = _try_model(config, dataset)
    elif dataset.holds_ids or dataset.label_shape:
        what = "int64 ids" if dataset.holds_ids else "a label for each position"
        raise ConfigError(
            f"model: {dataset.name} holds {what}, which the built-in MLP does not take; name a "
            "model of your own"
        )
    if dataset.holds_ids and config.unlock == "forward":
        raise ConfigError(
            f"unlock: forward predicts inputs from numbers, but {dataset.name} holds int64 ids"
        )
    if config.norm == "batch" and config.model is None:
        _check_last_batch(config, num_train)
    config.make_rule()  # a user's own may not import, or not go with the rest
    if is_extension(config.synthesizer):
        find_callable("synthesizer", config.synthesizer)
    layer_ranges = split_layers(num_layers, config.num_stages)
    allow_descriptors(len(layer_ranges))
    devices = _resolve_devices(config.devices)
    if config.compile:
        check_compiler(devices)
    cores = available_cores()
    return Plan(
        config=dataclasses.replace(
            config,
            data=_resolve_data(config.data),
            data_dir=None if folder is None else str(folder),
            devices=tuple(devices),
            keys=_resolve_keys(config),
        ),
        dataset_name=dataset.name,
        input_shape=dataset.input_shape,
        holds_ids=dataset.holds_ids,
        num_classes=dataset.num_classes,
        num_train=num_train,
        num_test=len(dataset.y_test),
        num_test_labels=dataset.y_test.size,
        num_layers=num_layers,
        layer_ranges=layer_ranges,
        devices=deal_devices(devices, len(layer_ranges)),
        hosts=deal_devices(_hosts(config), len(layer_ranges)),
        cores=cores,
        load=os.getloadavg()[0],
        threads_per_worker=_threads(config, cores, len(layer_ranges)),
    )


def _hosts(config: RunConfig) -> tuple[str, ...]:
    return ("remote",) if config.engine == "ray" else config.workers


def _threads(config: RunConfig, cores: int, num_stages: int) -> int:
    """As asked; else the cores shared out, but on a cluster, whose cores are not this host's."""
    shared = 1 if config.engine == "ray" else max(1, cores // num_stages)
    return config.threads_per_worker or shared


def _resolve_data(name: str) -> str:
    """Workers run in the same folder, but a report should say which file it was."""
    return str(Path(name).expanduser().resolve()) if name.endswith(".npz") else name


def _resolve_keys(config: RunConfig) -> str | None:
    """The folder of the keys, which whoever runs here can read, and an address that is ours."""
    if config.listen is not None:
        port = int(config.listen.rpartition(":")[2])
        _try_address("listen", config.listen, config.listen_host, port)
    elif config.transport == "tcp":
        _try_address("interface", config.interface, config.interface, 0)
    if config.keys is None:
        return None
    folder = Path(config.keys).expanduser().resolve()
    read_keys(folder, "coordinator")
    if "local" in config.workers:
        read_keys(folder, "worker")
    return str(folder)


def _try_address(name: str, asked: str, host: str, port: int) -> None:
    try:
        try_listening(host, port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{name}: {asked} cannot be listened on: {reason}") from error


def _check_last_batch(config: RunConfig, num_train: int) -> None:
    if config.batch_size == 1 or num_train % config.batch_size == 1:
        raise ConfigError(
            f"batch_size: {config.batch_size} leaves a batch of one of the {num_train} training "
            "samples, which BatchNorm cannot normalise"
        )


def _try_model(config: RunConfig, dataset: Dataset) -> int:
    """Build the user's network and pass it a few samples; the number of its layers."""
    import torch

    from dni_async.network.building import (
        build_network,
        check_network,
        has_batch_norm,
        layer_starts,
    )
    from dni_async.stage.losses.catalog import run_loss

    network = build_network(config, dataset.input_shape, dataset.num_classes)
    x = torch.from_numpy(_few_samples(dataset))
    targets = torch.zeros(len(x), *dataset.label_shape, dtype=torch.int64)
    loss = run_loss(dataset.num_classes)
    loss.check_outputs(
        check_network(network, x, targets.shape[: loss.sample_dims(targets)]), targets
    )
    if has_batch_norm(network):
        _check_last_batch(config, len(dataset.y_train))
    return len(layer_starts(network))


def _few_samples(dataset: Dataset) -> NDArray[Any]:
    """Test samples; of ids also those with the largest one, which the model may not know."""
    few = [dataset.x_test[:4]]
    if dataset.holds_ids:
        for x in (dataset.x_train, dataset.x_test):
            largest = int(x.argmax()) // dataset.num_features
            few.append(x[largest : largest + 1])
    return dataset.decode(np.concatenate(few))


def _resolve_devices(asked: tuple[str, ...]) -> list[str]:
    """Every device with its index; auto is all CUDA devices there are, else the CPU."""
    kinds = {device.partition(":")[0] for device in asked}
    if kinds == {"cpu"} or (kinds == {"auto"} and not has_nvidia_device()):
        return ["cpu"] * len(asked)
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kinds == {"auto"}:
        return [f"cuda:{index}" for index in range(count)] or ["cpu"]
    devices = [_expand(device, count) for device in asked]
    return [device for group in devices for device in group]


def _expand(device: str, count: int) -> list[str]:
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return ["cpu"]
    if count == 0:
        raise ConfigError(f"devices: {device} was asked for, but torch finds no CUDA device here")
    if not index:
        return [f"cuda:{number}" for number in range(count)]
    if int(index) >= count:
        raise ConfigError(
            f"devices: {device} was asked for, but there are {count} CUDA devices "
            f"(cuda:0 to cuda:{count - 1})"
        )
    return [f"cuda:{int(index)}"]
