"""A trained network's outputs: those of plain torch, in batches, for arrays and tensors alike."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dni_async.errors import DataError
from dni_async.network.outputs import outputs_of

SETTINGS: dict[str, Any] = {"batch_size": 4, "dtype": "fp32", "holds_ids": False}


class Seen(nn.Module):
    """Keeps the sizes of the batches, and writes into them."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x + 1, in place."""
        self.sizes.append(len(x))
        assert not torch.is_grad_enabled()
        return x.add_(1)


@pytest.fixture
def network() -> nn.Sequential:
    """One that is random in training."""
    torch.manual_seed(0)
    return nn.Sequential(Seen(), nn.Flatten(), nn.Linear(6, 3), nn.Dropout(), nn.BatchNorm1d(3))


def test_outputs_are_those_of_evaluation_whatever_mode_the_network_is_in(
    network: nn.Sequential,
) -> None:
    network.train()
    network[4].eval()
    x = torch.randn(10, 2, 3)
    before = x.clone()
    found = outputs_of(network, x, **SETTINGS)
    assert network[0].sizes == [4, 4, 2]
    assert [module.training for module in network] == [True, True, True, True, False]
    assert torch.equal(x, before)
    assert not found.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(found, network.eval()(x.clone()))


@pytest.mark.parametrize("kind", ["float64", "float16", "int64", "uint8", ">f4"])
def test_arrays_give_arrays_and_tensors_tensors(network: nn.Sequential, kind: str) -> None:
    x = np.arange(60).reshape(10, 2, 3).astype(kind)
    x.setflags(write=False)
    found = outputs_of(network, x, **SETTINGS)
    assert type(found) is np.ndarray
    tensor = outputs_of(network, torch.from_numpy(x.astype("f4")), **SETTINGS)
    assert isinstance(tensor, torch.Tensor)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, tensor)


def test_ids_and_labels_of_positions() -> None:
    network = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2))
    ids = np.array([[0, 4, 1]] * 5, np.int32)
    found = outputs_of(network, ids, **{**SETTINGS, "holds_ids": True})
    assert found.shape == (5, 3, 2)


def test_half_precision_and_no_samples(network: nn.Sequential) -> None:
    x = torch.randn(6, 6)
    exact = outputs_of(network, x, **SETTINGS)
    rounded = outputs_of(network, x, **{**SETTINGS, "dtype": "bf16"})
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0.05, atol=0.05)
    assert outputs_of(network, x[:0], **SETTINGS).shape == (0, 3)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ([[1.0]], "x: must be a numpy array or a torch tensor, but is a list"),
        (np.array(["a"]), "x: must hold real numbers [samples, ...], not <U1 [1]"),
        (torch.ones(2, 6, dtype=torch.complex64), "not torch.complex64 [2, 6]"),
        (np.float32(1)[...], "not float32 []"),
        (torch.ones(2, 7), "x: torch.float32 inputs [2, 7] do not pass the network: "),
    ],
)
def test_what_the_network_does_not_take(network: nn.Sequential, x: Any, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        outputs_of(network, x, **SETTINGS)
