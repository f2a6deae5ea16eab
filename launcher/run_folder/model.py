"""Puts the trained network together of what its stages have left."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dni_async.errors import DniError
from dni_async.files.beside import METADATA, apart
from dni_async.files.elsewhere import write_somewhere
from dni_async.files.weights import WeightsForm, check_weights
from dni_async.launcher.run_folder.folder import RunFolder

__all__ = ["join_model"]


def join_model(folder: RunFolder, stages: Sequence[WeightsForm]) -> str | None:
    """Join the stages' weights into model.safetensors and remove the parts; say if it is elsewhere.

    stages: what each has to leave; nobody's file can bring what is another stage's. What modules
    keep beside the weights goes into model-state.safetensors. Raises DniError where a file is not
    what it has to be, or no place takes the model; the parts stay then.
    """
    try:
        sentence = _write(folder, len(stages), _read(folder, stages))
    except BaseException:  # of a signal too
        folder.keep_weights()
        raise
    folder.drop_weights()
    return sentence


@dataclass(frozen=True, slots=True)
class _Network:
    """All stages' weights, what modules keep beside them, and the JSON that refers to that."""

    weights: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


def _read(folder: RunFolder, stages: Sequence[WeightsForm]) -> _Network:
    from safetensors import SafetensorError

    files, network = _tensor_files(), _Network()
    for stage, form in enumerate(stages):
        path = folder.stage_weights(stage)
        if not path.is_file():
            raise DniError(
                f"model: cannot be put together: stage {stage} left no weights; why, its log says: "
                f"{folder.log(stage)}"
            )
        try:
            network.values.update(check_weights(path, form))
            ours, beside = apart(files.load_file(path))
        except (DniError, OSError, SafetensorError) as error:
            raise DniError(
                f"model: cannot be put together: what stage {stage} left does not do: {error}; all "
                f"that the stages left stays in {folder.weights}"
            ) from error
        network.weights.update(ours)
        network.own.update(beside)
    return network


def _write(folder: RunFolder, num_stages: int, network: _Network) -> str | None:
    files, path = _tensor_files(), folder.model
    try:
        if network.values:
            own, text = network.own, {METADATA: json.dumps(network.values)}
            write_somewhere(folder.model_state, lambda part: files.save_file(own, part, text))
        place, why = write_somewhere(path, lambda part: files.save_file(network.weights, part))
    except OSError as error:
        places = sorted({str(folder.stage_weights(stage).parent) for stage in range(num_stages)})
        raise DniError(
            f"model: {path} cannot be written: {error.strerror or error}; the stages' weights are "
            f"in {' and '.join(places)}"
        ) from error
    return f"model: {path} cannot be written: {why}; it is {place}" if why else None


def _tensor_files() -> Any:
    """What reads and writes tensors: numpy, which is there at once, but has no bfloat16.

    A network that may have it has been tried in this process, and torch is there too.
    """
    if "torch" in sys.modules:
        import safetensors.torch

        return safetensors.torch
    import safetensors.numpy

    return safetensors.numpy
