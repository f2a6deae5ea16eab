"""What each layer of a network holds, as its stage has to leave it in a file of weights."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.files.weights import TensorForm, WeightsForm
from dni_async.network.building import cut_stage, layer_starts
from dni_async.network.models import make_model
from dni_async.stage.own_state import is_extra

__all__ = ["forms_of", "named_forms"]

_NAMES: Final = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def forms_of(network: nn.Sequential) -> tuple[WeightsForm, ...]:
    """Of each layer: the names, shapes and dtypes of its state dict, and its modules."""
    count = len(layer_starts(network))
    return tuple(_form_of(cut_stage(network, layer, layer + 1)) for layer in range(count))


def named_forms(
    config: RunConfig, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> tuple[WeightsForm, ...]:
    """The same of a network of ours, of which nothing is drawn and no memory taken for it."""
    with torch.device("meta"):
        return forms_of(make_model(config, input_shape, output_shape))


def _form_of(layer: nn.Sequential) -> WeightsForm:
    tensors = {
        name: TensorForm(_NAMES.get(value.dtype, _other(value.dtype)), tuple(value.shape))
        for name, value in layer.state_dict().items()
        if isinstance(value, torch.Tensor) and not is_extra(name)
    }
    return WeightsForm(tensors, frozenset(path for path, _ in layer.named_modules() if path))


def _other(dtype: torch.dtype) -> str:
    """float8_e4m3fn is F8_E4M3, uint16 is U16."""
    name = str(dtype).removeprefix("torch.")
    return name.replace("float8", "F8").replace("uint", "U").removesuffix("fn").upper()
