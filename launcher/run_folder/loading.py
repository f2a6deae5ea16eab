"""The trained network of a run that has ended, out of its folder alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import nn

from dni_async.config import given
from dni_async.config.extensions import is_extension
from dni_async.config.meant import did_you_mean_file
from dni_async.config.run_config import RunConfig, read_toml
from dni_async.errors import ConfigError, DniError
from dni_async.files import names
from dni_async.launcher.report.reading import read_report
from dni_async.launcher.run_folder.best import best_state
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.returned import trained_state
from dni_async.launcher.run_folder.trust import check_owner
from dni_async.network.building import build_module
from dni_async.stage.own_state import OwnState, is_extra, load_trained

__all__ = ["load_network"]

_DAMAGED = (DniError, OSError, ValueError, KeyError, TypeError, AttributeError)


def load_network(
    run_dir: Path,
    model: nn.Module | Callable[[], nn.Module] | None = None,
    *,
    best: bool = False,
) -> nn.Module:
    """The network that the run in run_dir trained, on the CPU, in evaluation mode.

    model: what to load it into, or what makes that; without it, the network is built as the run
    built it. best: as it was when it was tested best, of a run with keep_best. Raises ConfigError
    where there is no trained network, where it cannot be built, does not fit, or is damaged; model
    is left as it was then.
    """
    folder = RunFolder(run_dir)
    _check_run(folder)
    if not best:
        _check_finished(folder)
    config = RunConfig.from_dict(read_toml(run_dir / names.CONFIG))
    network = _rebuilt(config, run_dir) if model is None else _made(config, model)
    weights, state = _read_best(folder) if best else _read(folder)
    _check_fits(network, weights, run_dir)
    _load(network, weights, state, run_dir)
    return network.eval()


def _check_run(folder: RunFolder) -> None:
    path = folder.path
    if not path.is_dir():
        raise ConfigError(f"run_dir: {path}: there is no such folder{did_you_mean_file(path)}")
    if not (path / names.CONFIG).is_file():
        raise ConfigError(f"run_dir: {path} holds no run: it has no {names.CONFIG}")


def _check_finished(folder: RunFolder) -> None:
    path = folder.path
    if not folder.model.is_file():
        remedy = (
            f"dni-launch --resume {path} goes on with it" if folder.has_checkpoint else "train anew"
        )
        raise ConfigError(
            f"run_dir: the run in {path} has no {names.MODEL}, which is written when a run ends "
            f"well; {remedy}"
        )


def _rebuilt(config: RunConfig, run_dir: Path) -> nn.Module:
    """As the workers built it. Raises ConfigError where that takes what only the caller has."""
    if str(config.model).startswith(f"{given.__name__}:"):
        raise ConfigError(
            f"model: the network of {run_dir} was given to dni_async.train as an object, of which "
            "no code is kept; give one of the same kind, dni_async.load(run_dir, model=...), or "
            "load model.safetensors into it"
        )
    if is_extension(str(config.model)):
        check_owner(
            run_dir,
            f"its settings name code to run ({config.model}), which dni_async.load(run_dir, "
            "model=...) does not",
        )
    data = read_report(run_dir)["data"]
    shape = data.get("input_shape")
    if shape is None:
        raise ConfigError(
            f"run_dir: {names.REPORT} of {run_dir}, by an earlier version, does not say the shape "
            "of a sample; give the network, dni_async.load(run_dir, model=...)"
        )
    outputs = [data["num_classes"]] if data["num_classes"] else data["target_shape"]
    return build_module(config, tuple(shape), tuple(outputs))


def _made(config: RunConfig, model: object) -> nn.Module:
    """The module to load into. Raises ConfigError."""
    network = model
    if not isinstance(model, nn.Module) and callable(model):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = model()
    if not isinstance(network, nn.Module):
        raise ConfigError(
            "model: must be a torch.nn.Module or a function that makes one, but is a "
            f"{type(network).__name__}"
        )
    return network


def _read(folder: RunFolder) -> tuple[dict[str, torch.Tensor], OwnState]:
    try:
        return trained_state(folder)
    except (*_DAMAGED, safetensors.SafetensorError) as error:
        raise _damaged(folder.path, error) from error


def _read_best(folder: RunFolder) -> tuple[dict[str, torch.Tensor], OwnState]:
    """As it was tested best. Raises ConfigError where that was not kept, or is damaged."""
    try:
        found = best_state(folder.checkpoints)
    except (*_DAMAGED, safetensors.SafetensorError) as error:
        raise ConfigError(
            f"run_dir: the best checkpoint of {folder.path} is damaged: {error}"
        ) from error
    if found is None:
        raise ConfigError(
            f"run_dir: the run in {folder.path} has kept no best network; one with --keep-best "
            "(keep_best=True) does, once the network has been tested"
        )
    return found


def _check_fits(network: nn.Module, weights: Mapping[str, torch.Tensor], run_dir: Path) -> None:
    """Before anything is loaded, as torch loads what fits and then says what does not."""
    needs = {name: value for name, value in network.state_dict().items() if not is_extra(name)}
    faults = [f"misses {name}" for name in needs if name not in weights]
    faults += [f"has {name} beside" for name in weights if name not in needs and not is_extra(name)]
    faults += [
        f"{name} is {list(weights[name].shape)}, not {list(value.shape)}"
        for name, value in needs.items()
        if name in weights and weights[name].shape != value.shape
    ]
    faults += [
        f"{name} is {weights[name].dtype}, not {value.dtype}"
        for name, value in needs.items()
        if name in weights and weights[name].is_floating_point() != value.is_floating_point()
    ]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ConfigError(
            f"model: what {run_dir} trained does not fit the network: {names.MODEL} "
            f"{faults[0]}{more}; give the network that was trained"
        )


def _load(
    network: nn.Module, weights: Mapping[str, torch.Tensor], state: OwnState, run_dir: Path
) -> None:
    try:
        load_trained(network, weights, state)
    except (*_DAMAGED, RuntimeError) as error:
        raise _damaged(run_dir, error) from error


def _damaged(run_dir: Path, error: Any) -> ConfigError:
    return ConfigError(
        f"run_dir: {names.MODEL} or {names.MODEL_STATE} of {run_dir} is damaged: {error}"
    )
