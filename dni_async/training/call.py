"""Train a model that the caller has in hand, and load what was trained."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dni_async.config.copies import Copies
from dni_async.config.extensions import is_importing
from dni_async.config.given import give, open_folder
from dni_async.config.own_loss import as_settings
from dni_async.config.own_metrics import metric_entries
from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import Taken
from dni_async.errors import ConfigError, HandshakeError, WorkerDied
from dni_async.training.callbacks import RunView, checked_callbacks
from dni_async.training.result import TrainingResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

__all__ = ["load", "train"]

_BY_NAME = ("rule", "synthesizer", "optimizer", "lr_schedule")  # may be given as an object
Metrics = str | Callable[..., Any] | Sequence[str | Callable[..., Any]] | Mapping[str, Any]
_running = threading.Lock()


def train(
    model: nn.Module | Callable[[], nn.Module] | str | None = None,
    data: object = None,
    *,
    loss: str | Callable[..., Any] | None = None,
    metrics: Metrics | None = None,
    config: RunConfig | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = True,
    callbacks: Sequence[object] = (),
    **settings: Any,
) -> TrainingResult:
    """Train model on data with every stage in a process of its own, as ``dni-launch`` does.

    model: an nn.Module, whose weights are where training starts and which stays as it is; a
    function without arguments that makes one; or as ``--model``. None: the MLP of layers, width
    and norm. The layers of an nn.Sequential are its children. Any other is cut where split says: a
    list of names of modules at which another layer begins, a function that is given the network
    and names them, or "auto", the default.

    data: (x_train, y_train, x_test, y_test), a mapping with these names, or two parts (training,
    test), of which the second may be None or missing: pairs of numpy arrays or torch tensors, data
    sets and loaders of torch, lists of batches, whatever gives batches (inputs, targets) each time
    that it is iterated over, or a function that makes such; or as ``--data``. None: the digits. x:
    real numbers [N, ...], finite as float32, or int64 ids; y: as the loss takes them; for
    cross-entropy integers from 0, [N], [N, 1], [N, T] or [N, H, W], or one-hot [N, C]. Loaders and
    batches say themselves how large batches are; see docs/models-and-data.md.

    loss: as ``--loss``; a loss module of torch.nn; or any function of outputs and targets that
    gives a scalar tensor, their mean loss. None: cross-entropy.

    metrics: what is measured on the test samples beside the loss: names as in ``--metrics``, and
    functions of a batch's outputs and targets that give a number, the mean over its samples; or a
    mapping of names to such functions. None: accuracy where targets are classes.

    settings: the fields of RunConfig, where rule and synthesizer may also be classes; optimizer a
    class, a ``functools.partial`` of one or a factory over named parameters; lr_schedule a function
    ``(update, num_updates) -> factor``. With config, they replace what it says; without, the
    baselines are left out unless ``baseline=True``.

    run_dir: where the run is kept; an earlier run there needs overwrite. Without it a temporary
    folder holds the run, and stays only if a worker fails, for its logs. progress: print a line
    per epoch, and in a terminal a table of the stages; in a notebook show one table that changes.

    callbacks: objects that hear of the run and may ask for its end, see Callback.

    Raises ConfigError before any process starts, and the run's first cause as another DniError. At
    Ctrl-C the workers end, then KeyboardInterrupt is raised; so it is with what a callback raises.
    One run at a time in a process.
    """
    heard_by = checked_callbacks(callbacks)
    with (
        _alone(),
        _engine().interruptible_call(),
        open_folder() as folder,
        _run_folder(run_dir) as place,
    ):
        asked = {**_settings(model, settings, folder), **_loss_settings(loss, folder)}
        if metrics is not None:
            asked["metrics"] = metric_entries(metrics, folder)
        if (size := _loaders_batch_size(data)) is not None:
            asked["batch_size"] = size
            if settings.get("batch_size", size) != size:
                raise ConfigError(
                    f"batch_size: the loader gives batches of {size}; leave it out, or set it there"
                )
        base = RunConfig(baseline=False) if config is None else config
        if isinstance(data, str | os.PathLike):
            asked["data"] = os.fspath(data)
        elif data is not None:
            asked["data"] = "given"
        resolved = RunConfig.from_dict({**base.to_dict(), **asked})
        if resolved.data == "given" and data is not None:
            stream = _write(data, folder, resolved.taken)
            if stream is not None:
                resolved = dataclasses.replace(resolved, data=stream)
        network, best, report = _engine().carry_out(
            resolved,
            run_dir=place,
            overwrite=overwrite,
            progress=progress,
            callbacks=heard_by,
            view=RunView,
        )
    ours = report["runs"][0]
    return TrainingResult(
        model=network,
        report=report,
        run_dir=None if run_dir is None else Path(run_dir),
        _html=partial(
            _engine().draw_result, report, _engine().current_cell() if progress else None
        ),
        best_model=best,
        accuracy=(ours.get("stopped") or ours)["test_metrics"].get("accuracy"),
    )


def load(
    run_dir: str | os.PathLike[str],
    *,
    model: nn.Module | Callable[[], nn.Module] | None = None,
    best: bool = False,
) -> nn.Module:
    """The network that the run in run_dir trained, on the CPU and in evaluation mode.

    With all that training changed: weights, buffers, what modules keep beside them. It is built as
    the run built it, so a ``package.module:factory`` must be importable. One that was given as an
    object is not kept: model is then what to load into (and is returned), or a function that makes
    it. best: the network as it was after its best test, of a run with keep_best, whether that has
    ended or not. Raises ConfigError where no trained network is there, or it does not fit model.
    """
    network: nn.Module = _engine().load_network(Path(run_dir), model, best=best)
    return network


def _loaders_batch_size(data: object) -> int | None:
    from dni_async.data.samples import batch_size_of

    return batch_size_of(data)


@contextmanager
def _alone() -> Iterator[None]:
    """Raises ConfigError where a run would start another one, or stand beside one."""
    if is_importing():
        raise ConfigError(
            "train: called by a module that another run imports; "
            "put the call under if __name__ == '__main__':"
        )
    if not _running.acquire(blocking=False):
        raise ConfigError("train: another run is under way in this process; wait for its end")
    try:
        yield
    finally:
        _running.release()


@contextmanager
def _run_folder(run_dir: str | os.PathLike[str] | None) -> Iterator[Path]:
    """run_dir, or a temporary folder, which stays where an error may name the logs in it."""
    if run_dir is not None:
        yield Path(run_dir)
        return
    folder = tempfile.mkdtemp(prefix="dni-run-")
    has_failed = False
    try:
        yield Path(folder)
    except (HandshakeError, WorkerDied):
        has_failed = True
        raise
    finally:
        if not has_failed:
            shutil.rmtree(folder, ignore_errors=True)


def _settings(model: object, settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The settings as RunConfig knows them; what is no plain value is put into folder."""
    asked = dict(settings)
    for name in _BY_NAME:
        value = asked.get(name)
        if callable(value):
            asked[name] = give(folder, name, value)
        elif type(value).__module__ != "builtins":
            raise ConfigError(_is_made(name, value))
    if isinstance(asked.get("data_dir"), os.PathLike):
        asked["data_dir"] = os.fspath(asked["data_dir"])
    _name_split(asked, folder)
    if isinstance(model, str):
        asked["model"] = model
    elif model is not None:
        asked["model"] = give(folder, "model", _factory(model))
    return asked


def _loss_settings(loss: object, folder: Path) -> dict[str, Any]:
    """The settings that say which loss it is; one that no name says is put into folder."""
    if loss is None:
        return {}
    if isinstance(loss, str):
        return {"loss": loss}
    if not callable(loss):
        raise ConfigError(
            "loss: must be a name, a loss of torch.nn or a function of outputs and targets, but is "
            f"{loss!r}"
        )
    return as_settings(loss) or {"loss": give(folder, "loss", loss)}


def _name_split(asked: dict[str, Any], folder: Path) -> None:
    """A function that names split points by a name of its own; None is as not asked for."""
    split = asked.get("split")
    if callable(split):
        asked["split"] = [give(folder, "split", split)]
    elif split is None:
        asked.pop("split", None)


def _factory(model: object) -> object:
    """What makes the network: model, or a function that makes copies of it on the CPU."""
    from torch import nn

    if isinstance(model, nn.Module):
        return Copies(model)
    if not callable(model):
        raise ConfigError(
            "model: must be a torch.nn.Module or a function that makes one, "
            f"but is a {type(model).__name__}"
        )
    return model


def _is_made(name: str, value: object) -> str:
    """The sentence on an object where each worker makes its own."""
    if name == "lr_schedule":
        return (
            f"lr_schedule: must be a name or a function of an update and their number, but is a "
            f"made {type(value).__name__}; give the function: lambda update, num_updates: factor"
        )
    return (
        f"{name}: must be a name, or a class or function that makes it, but is a made "
        f"{type(value).__name__}; each worker makes its own, so give its class, or "
        "functools.partial of it"
    )


def _write(data: object, folder: Path, taken: Taken) -> str | None:
    """Put data into folder: arrays as such, and None; what has a stream in it under a name."""
    from dni_async.data.dataset import checked_dataset
    from dni_async.data.kept import keep
    from dni_async.data.streams.parts import Parts, parts_of

    arrays = parts_of(data, taken)
    if isinstance(arrays, Parts):
        return give(folder, "data", arrays)
    keep(checked_dataset("data", **arrays, taken=taken), folder)
    return None


def _engine() -> Any:
    """The launcher, which reads a lot that only a run needs."""
    from dni_async.launcher import engine

    return engine
