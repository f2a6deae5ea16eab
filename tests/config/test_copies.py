"""Networks given as objects travel whole: what torch copies and pickles, and what it does not."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from dni_async.config import given
from dni_async.config.copies import Copies
from dni_async.config.given import open_folder
from dni_async.errors import ConfigError


@pytest.fixture(autouse=True)
def old_functions() -> Any:
    """weight_norm and spectral_norm of old are deprecated, and in use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def wrapped(wrap: Callable[..., nn.Module], **settings: Any) -> nn.Sequential:
    """A network in which one layer is wrapped, as it was after a first forward."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), wrap(nn.Linear(4, 4), **settings), nn.ReLU())
    network(torch.ones(2, 4))
    return network


def travelled(network: nn.Sequential) -> nn.Sequential:
    """What a worker makes of it."""
    with open_folder() as folder:
        name = given.give(folder, "model", Copies(network))
        return cast("nn.Sequential", getattr(given, name.partition(":")[2])())


@pytest.mark.parametrize(
    ("wrap", "settings"),
    [
        (parametrizations.weight_norm, {}),
        (parametrizations.spectral_norm, {}),
        (parametrizations.orthogonal, {}),
        (parametrizations.orthogonal, {"orthogonal_map": "cayley"}),
        (weight_norm, {}),
        (spectral_norm, {}),
    ],
)
def test_a_wrapped_layer_travels_and_learns(
    wrap: Callable[..., nn.Module], settings: dict[str, Any]
) -> None:
    network = wrapped(wrap, **settings)
    again = travelled(network)
    x = torch.randn(3, 4)
    assert list(again.state_dict()) == list(network.state_dict())
    assert list(dict(again.named_parameters())) == list(dict(network.named_parameters()))
    network.eval(), again.eval()
    assert torch.equal(again(x), network(x))
    network(x).sum().backward()
    again(x).sum().backward()
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(cast("torch.Tensor", one.grad), cast("torch.Tensor", other.grad))


def test_what_a_module_computed_earlier_travels_as_its_values() -> None:
    network = nn.Sequential(nn.Linear(4, 4))
    network[0].seen = {"last": network(torch.ones(2, 4))}  # type: ignore[assignment]
    (again,) = travelled(network)
    assert torch.equal(cast("Any", again).seen["last"], cast("Any", network[0]).seen["last"])


def test_what_is_given_stays_the_callers() -> None:
    network = wrapped(parametrizations.weight_norm)
    copies = Copies(network)
    with torch.no_grad():
        network[0].weight += 1  # type: ignore[operator]
    assert not torch.equal(copies()[0].weight, network[0].weight)
    assert copies()[0].weight is not copies()[0].weight


def test_a_hook_on_a_gradient_is_named() -> None:
    network = nn.Sequential(nn.Linear(4, 4))
    network[0].weight.register_hook(lambda gradient: gradient * 2)  # type: ignore[operator]
    message = "model: 0.weight has a hook on its gradient, which no copy has; give a function"
    with pytest.raises(ConfigError, match=re.escape(message)):
        Copies(network)


def test_a_child_that_cannot_travel_is_named(tmp_path: Path) -> None:
    class Locked(nn.Linear):
        def __deepcopy__(self, memo: object) -> nn.Module:
            return self

    network = nn.Sequential(nn.Linear(4, 4), Locked(4, 4))
    network[1].lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"model: child 1 \(Locked\) cannot travel") as caught:
        given.give(tmp_path, "model", Copies(network))
    assert str(caught.value).endswith("; give a function that makes it")
