"""Networks: where layers begin, what a stage holds, and which networks are refused."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dni_async import ConfigError, RunConfig
from dni_async.network.building import (
    build_network,
    check_network,
    check_tied,
    cut_stage,
    has_batch_norm,
    layer_starts,
)
from dni_async.network.models import cnn, mlp, residual
from dni_async.stage.losses.catalog import make_loss


def linear() -> nn.Linear:
    """A layer that fits behind and before itself."""
    return nn.Linear(4, 4)


def shared_relu() -> nn.Sequential:
    """One activation module in two places, as people write it."""
    relu = nn.ReLU()
    return nn.Sequential(linear(), relu, linear(), relu, linear())


def frozen(module: nn.Module) -> nn.Module:
    """The same module, not to be trained."""
    return module.requires_grad_(False)


NETWORKS: dict[str, tuple[nn.Sequential, list[int]]] = {
    "flat": (nn.Sequential(linear(), nn.ReLU(), linear()), [0, 2]),
    "nested": (mlp((4,), 4, 3, 4), [0, 1, 2]),
    "cnn": (cnn((4,), 3, 3, 4, norm="batch"), [0, 1, 2]),
    "residual": (residual((4,), 4, 4, 4, norm="layer"), [0, 1, 2, 3]),
    "one layer": (nn.Sequential(linear()), [0]),
    "flatten first": (nn.Sequential(nn.Flatten(), linear(), nn.ReLU(), linear()), [0, 3]),
    "norm follows": (
        nn.Sequential(linear(), nn.BatchNorm1d(4), nn.ReLU(), linear(), nn.LayerNorm(4)),
        [0, 3],
    ),
    "norm first": (nn.Sequential(nn.LayerNorm(4), linear(), linear()), [0, 2]),
    "rms norm follows": (nn.Sequential(linear(), nn.RMSNorm(4), linear()), [0, 2]),
    "learnt activation follows": (nn.Sequential(linear(), nn.PReLU(), linear()), [0, 2]),
    "activation at the end": (nn.Sequential(linear(), linear(), nn.ReLU()), [0, 1]),
    "shared activation": (shared_relu(), [0, 2, 4]),
    "nested norm is a layer": (
        nn.Sequential(linear(), nn.Sequential(nn.BatchNorm1d(4), linear())),
        [0, 1],
    ),
    "frozen first": (nn.Sequential(frozen(linear()), nn.ReLU(), linear(), linear()), [0, 2, 3]),
    "frozen between": (nn.Sequential(linear(), frozen(linear()), linear()), [0, 1, 2]),
    "no parameters": (nn.Sequential(nn.Flatten(), nn.ReLU()), [0]),
}
cases = pytest.mark.parametrize(("network", "starts"), NETWORKS.values(), ids=NETWORKS.keys())


@cases
def test_layers_begin_where_there_are_parameters(network: nn.Sequential, starts: list[int]) -> None:
    assert layer_starts(network) == starts


@cases
def test_stages_together_are_the_network(network: nn.Sequential, starts: list[int]) -> None:
    """Same modules, same names, same output, for every way to cut once and for single layers."""
    num_layers = len(starts)
    whole = network.state_dict()
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    network.eval()
    for middle in range(1, num_layers):
        check_cut(network, [0, middle, num_layers], whole, x)
    check_cut(network, list(range(num_layers + 1)), whole, x)


def check_cut(
    network: nn.Sequential, bounds: list[int], whole: dict[str, Any], x: torch.Tensor
) -> None:
    """Cut network at bounds and compare the pieces with it."""
    stages = [cut_stage(network, first, end) for first, end in pairwise(bounds)]
    names = [name for stage in stages for name in stage.state_dict()]
    assert names == list(whole)
    assert sum(len(stage) for stage in stages) == len(network)
    hidden = x
    for stage in stages:
        hidden = stage(hidden)
    assert torch.equal(hidden, network(x))


@pytest.mark.parametrize("model", [None, "cnn", "residual"])
def test_weights_depend_on_the_seed_alone(model: str | None) -> None:
    torch.manual_seed(1)
    first = build_network(RunConfig(seed=3, model=model, width=16), (2, 3), 5).state_dict()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = build_network(RunConfig(seed=3, model=model, width=16), (2, 3), 5).state_dict()
    assert torch.equal(torch.get_rng_state(), state)  # and nobody else's draws change
    other = build_network(RunConfig(seed=4, model=model, width=16), (2, 3), 5).state_dict()
    assert list(first) == list(again)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("network", "has"),
    [
        (mlp((4,), 4, 2, 3, norm="batch"), True),
        (mlp((4,), 4, 2, 3, norm="layer"), False),
        (nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)), True),
        (nn.Sequential(nn.GroupNorm(2, 4)), False),
    ],
)
def test_batch_norm_is_found_at_any_depth(network: nn.Sequential, has: bool) -> None:
    assert has_batch_norm(network) is has


# --- a network of the user's own ---------------------------------------------------------------

OWN_MODULE = """
import torch
from torch import nn

def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5))

def fails():
    raise RuntimeError("no luck")

def text():
    return "a network"

def empty():
    return nn.Sequential(nn.Flatten())

def frozen():
    return nn.Sequential(nn.Linear(6, 5).requires_grad_(False))

number = 5
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current folder, like no other test's."""
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    return name


def test_a_module_in_the_current_folder_is_found(own: str) -> None:
    first, again = (
        build_network(RunConfig(model=f"{own}:network", seed=2), (2, 3), 5) for _ in range(2)
    )
    assert list(first.state_dict()) == ["1.weight", "1.bias", "3.weight", "3.bias"]
    assert torch.equal(first[1].weight, again[1].weight)


def test_installed_modules_come_before_the_current_folder(own: str) -> None:
    Path("json.py").write_text("raise RuntimeError('shadows')")
    build_network(RunConfig(model=f"{own}:network"), (2, 3), 5)
    assert sys.path[-1] == str(Path.cwd())


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("fails", "() raised RuntimeError('no luck')"),
        ("text", "() gave a str, needs a torch.nn.Module"),
        ("empty", "() has no parameters to train"),
        ("frozen", "() has no parameters to train"),
        ("number", "has no callable 'number'"),
        ("missing", "has no callable 'missing'"),
    ],
)
def test_factories_that_make_no_network(own: str, factory: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        build_network(RunConfig(model=f"{own}:{factory}"), (2, 3), 5)
    assert str(caught.value).startswith("model: ")
    assert own in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_package", "No module named 'no_such_package'"),
        ("def network(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_modules_that_do_not_import(own: str, source: str, message: str) -> None:
    Path(f"{own}.py").write_text(source)
    with pytest.raises(ConfigError, match=re.escape(f"model: cannot import '{own}'")) as caught:
        build_network(RunConfig(model=f"{own}:network"), (2, 3), 5)
    assert message in str(caught.value)


def test_a_module_that_is_not_there(own: str) -> None:
    with pytest.raises(ConfigError, match="model: cannot import 'no_such_module'"):
        build_network(RunConfig(model="no_such_module:network"), (2, 3), 5)


# --- what a network must do with a few samples -------------------------------------------------


IDS = torch.zeros(3, 2, dtype=torch.int64)


class Pair(nn.Module):
    """Gives two tensors."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The input, twice."""
        return x, x


class Made(nn.Module):
    """Gives what it was made of."""

    def __init__(self, made: object) -> None:
        super().__init__()
        self.made = made

    def forward(self, _x: torch.Tensor) -> object:
        """That."""
        return self.made


class Numbers(nn.Module):
    """Gives integers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rounded towards zero."""
        return x.long()


class Mean(nn.Module):
    """Loses the batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One row for all samples."""
        return x.mean(0, keepdim=True)


def tied() -> nn.Sequential:
    """Two layers with one weight."""
    first, second = linear(), linear()
    second.weight = first.weight
    return nn.Sequential(first, nn.ReLU(), second)


SAMPLES = torch.zeros(3, 4)


def check(network: nn.Sequential, x: torch.Tensor, *label_shape: int, num_classes: int) -> None:
    """As a plan does, with labels of the first class; label_shape: of one sample."""
    targets = torch.zeros(len(x), *label_shape, dtype=torch.int64)
    outputs = check_network(network, x, targets.shape)
    make_loss("cross-entropy", (num_classes,)).check_outputs(outputs, targets)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(linear(), Pair(), linear()), "inputs [3, 4] do not pass the network"),
        (nn.Sequential(linear(), Pair()), "the last child gives a tuple, needs one tensor"),
        (nn.Sequential(linear(), Made(object())), "the last child gives a object, needs one"),
        (nn.Sequential(linear(), Made((IDS, 1))), "child 1 gives torch.int64 [3, 2]; a layer must"),
        (nn.Sequential(linear(), Numbers(), linear()), "child 1 gives torch.int64 [3, 4]"),
        (nn.Sequential(linear(), Mean(), linear()), "child 1 gives torch.float32 [1, 4]"),
        (nn.Sequential(linear(), nn.Flatten(0), nn.Linear(12, 4)), "torch.float32 [12]"),
        (nn.Sequential(linear(), nn.Linear(4, 3)), "the output is [3, 3], needs [3, at least 4]"),
        (nn.Sequential(linear(), nn.Unflatten(1, (2, 2))), "the output is [3, 2, 2], needs"),
        (nn.Sequential(nn.Linear(5, 4)), "inputs [3, 4] do not pass the network: mat1 and mat2"),
        (nn.Sequential(nn.Conv2d(1, 4, 3)), "inputs [3, 4] do not pass the network"),
    ],
)
def test_networks_that_do_not_fit(network: nn.Sequential, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        check(network, SAMPLES, num_classes=4)
    assert str(caught.value).startswith("model: ")


def test_a_label_for_each_position_asks_for_logits_at_each() -> None:
    network = nn.Sequential(nn.Embedding(5, 4), linear(), nn.ReLU(), nn.Linear(4, 5))
    check(network, IDS, 2, num_classes=5)


def test_a_parameter_may_stand_in_several_layers_of_one_stage() -> None:
    for network in (tied(), nn.Sequential(*[linear()] * 2)):
        check(network, SAMPLES, num_classes=4)
        check_tied(network, [(0, 2)])
        sentence = "are one parameter, but stages 0 and 1 would .* with --stages 1 --partition even"
        with pytest.raises(ConfigError, match=sentence):
            check_tied(network, [(0, 1), (1, 2)])
    network = nn.Sequential(*tied(), linear(), linear())
    with pytest.raises(ConfigError, match=r"0\.weight and 2\.weight are .* with --stages 2 "):
        check_tied(network, [(0, 1), (1, 2), (2, 3), (3, 4)])
    network = tied()
    network[0].requires_grad_(False)  # nobody updates it
    check_tied(network, [(0, 1)] * 2)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([linear(), nn.Flatten(), nn.Linear(8, 5)], "child 2 gives torch.float32 [3, 8]; a layer"),
        ([linear(), nn.Flatten(0, 1), nn.Linear(4, 5)], "floating-point activations [3, 2, ...]"),
        ([linear()], "the output is [3, 2, 4], needs [3, 2, at least 5]"),
        ([nn.Linear(4, 5), nn.Unflatten(2, (5, 1))], "the output is [3, 2, 5, 1], needs [3, 2, at"),
    ],
)
def test_networks_that_do_not_fit_positions(layers: list[nn.Module], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check(nn.Sequential(nn.Embedding(5, 4), *layers), IDS, 2, num_classes=5)


def test_ids_that_an_embedding_does_not_have() -> None:
    network = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
    with pytest.raises(ConfigError, match=r"int64 inputs \[3, 2\] do not pass the network: index"):
        check(network, IDS + 5, 2, num_classes=5)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(linear(), nn.ReLU(), linear()),
        nn.Sequential(linear(), nn.Linear(4, 9)),  # more logits than classes
        shared_relu(),
        nn.Sequential(linear(), nn.BatchNorm1d(4), nn.Dropout(), linear()),
        nn.Sequential(
            nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(3, 4)
        ),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_checking_leaves_a_network_that_fits_alone(network: nn.Sequential, training: bool) -> None:
    network.train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    check(network, SAMPLES, num_classes=4)
    assert network.training is training
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("input_shape", [(64,), (8, 8), (1, 8, 8), (3, 8, 7)])
@pytest.mark.parametrize("model", [None, "cnn", "residual"])
@pytest.mark.parametrize("layers", [1, 2, 5])
def test_what_a_run_can_name_takes_its_samples(
    model: str | None, input_shape: tuple[int, ...], norm: Any, layers: int
) -> None:
    config = RunConfig(model=model, norm=norm, layers=layers, width=6)
    network = build_network(config, input_shape, 5)
    assert len(layer_starts(network)) == len(network) == layers
    check(network, torch.zeros(4, *input_shape), num_classes=5)


def test_a_cnn_of_what_is_no_image_is_refused() -> None:
    with pytest.raises(ConfigError, match=re.escape("model: cnn needs images")):
        build_network(RunConfig(model="cnn"), (5,), 2)


def test_outputs_may_be_one_number_a_sample() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1), nn.Flatten(0))
    assert check_network(network, torch.zeros(5, 4), (5,)).shape == (5,)
    with pytest.raises(ConfigError, match=re.escape("child 1 gives torch.float32 [5]; a layer")):
        check_network(nn.Sequential(*network[1:], nn.Linear(5, 5)), torch.zeros(5, 3), (5,))
