"""What a network's layers have to leave, by layer."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from dni_async import RunConfig
from dni_async.files.beside import METADATA
from dni_async.files.weights import TensorForm, check_weights, merged
from dni_async.launcher.plan.forms import forms_of, named_forms
from dni_async.network.building import build_network


@pytest.mark.parametrize("model", [None, "cnn", "residual"])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_a_network_of_ours_leaves_what_its_forms_say(
    tmp_path: Path, model: str | None, norm: str
) -> None:
    """Without being built: of each layer alone, and all together, and no two have the same."""
    config = RunConfig(model=model, layers=3, width=8, norm=norm)
    shape = (1, 8, 8) if model == "cnn" else (16,)
    network = build_network(config, shape, (3,))
    forms = named_forms(config, shape, (3,))
    assert forms == forms_of(network)
    assert len(forms) == 3
    assert sum(len(form.tensors) for form in forms) == len(network.state_dict())
    path = tmp_path / "weights"
    safetensors.torch.save_file(dict(network.state_dict()), path, {METADATA: "{}"})
    assert check_weights(path, merged(forms)) == {}


DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    *(torch.uint16, torch.uint32, torch.uint64, torch.float8_e5m2, torch.float8_e4m3fn),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_are_named_as_files_name_them(tmp_path: Path, dtype: torch.dtype) -> None:
    layer = nn.Linear(1, 1)
    layer.register_buffer("extra", torch.zeros(2, 3).to(dtype))
    network = nn.Sequential(OrderedDict(inner=layer))
    (form,) = forms_of(network)
    assert form.tensors["inner.extra"].shape == (2, 3)
    assert form.tensors["inner.weight"] == TensorForm("F32", (1, 1))
    assert form.modules == {"inner"}
    path = tmp_path / "weights"
    safetensors.torch.save_file(dict(network.state_dict()), path)
    assert check_weights(path, form) == {}


class Keeping(nn.Linear):
    """Has extra state, a tensor that grows."""

    def get_extra_state(self) -> torch.Tensor:
        return torch.zeros(5)

    def set_extra_state(self, state: torch.Tensor) -> None:
        pass


def test_extra_state_may_be_of_any_shape(tmp_path: Path) -> None:
    network = nn.Sequential(Keeping(2, 2))
    (form,) = forms_of(network)
    assert form.tensors.keys() == {"0.weight", "0.bias"}
    path = tmp_path / "weights"
    safetensors.torch.save_file(dict(network.state_dict()), path)
    assert check_weights(path, form) == {}
