"""Puts the trained network together of what its stages have left."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dni_async.errors import DniError
from dni_async.files.beside import METADATA, apart
from dni_async.files.weights import WeightsForm, check_weights
from dni_async.files.writing import whole
from dni_async.launcher.run_folder.folder import RunFolder

__all__ = ["join_model"]


def join_model(folder: RunFolder, stages: Sequence[WeightsForm]) -> Path:
    """Join the stages' weights into model.safetensors and remove the parts.

    stages: what each has to leave; nobody's file can bring what is another stage's. What modules
    keep beside the weights goes into model-state.safetensors. Raises DniError where a file is not
    what it has to be, or the place does not take the model; the parts stay then.
    """
    try:
        weights, own, values = _read(folder, stages)
        _write(folder, weights, own, values)
    except DniError:
        folder.keep_weights()
        raise
    shutil.rmtree(folder.weights)
    return folder.model


def _read(
    folder: RunFolder, stages: Sequence[WeightsForm]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """All stages' weights, what modules keep beside them, and the JSON that refers to that."""
    from safetensors import SafetensorError

    files = _tensor_files()
    weights: dict[str, Any] = {}
    own: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for stage, form in enumerate(stages):
        path = folder.stage_weights(stage)
        try:
            values |= check_weights(path, form)
            ours, beside = apart(files.load_file(path))
        except (DniError, OSError, SafetensorError) as error:
            raise DniError(
                f"model: cannot be put together: what stage {stage} left does not do: {error}; all "
                f"that the stages left stays in {folder.weights}"
            ) from error
        weights |= ours
        own |= beside
    return weights, own, values


def _write(
    folder: RunFolder, weights: dict[str, Any], own: dict[str, Any], values: dict[str, Any]
) -> None:
    from safetensors import SafetensorError

    files = _tensor_files()
    try:
        if values:
            with whole(folder.model_state) as part:
                files.save_file(own, part, {METADATA: json.dumps(values)})
        with whole(folder.model) as part:
            files.save_file(weights, part)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DniError(
            f"model: cannot be written: {reason}; the stages' weights are in {folder.weights}"
        ) from error


def _tensor_files() -> Any:
    """What reads and writes tensors: numpy, which is there at once, but has no bfloat16.

    A network that may have it has been tried in this process, and torch is there too.
    """
    if "torch" in sys.modules:
        import safetensors.torch

        return safetensors.torch
    import safetensors.numpy

    return safetensors.numpy
