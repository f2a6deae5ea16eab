"""Late gradients: inputs and masks of the forward, weights of the backward."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from dni_async.network.building import layer_starts
from dni_async.stage.descent.optimizers import Sgd
from dni_async.stage.descent.updates import Updates
from dni_async.stage.draws import Draws
from dni_async.stage.graphs import late
from dni_async.stage.layers import StageLayers
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.stage import Stage
from dni_async.stage.values import Gradient, Values, gradients_of, needing


def stage_of(layers: nn.Sequential, *, dtype: torch.dtype | None = None) -> Stage:
    """A stage above the source; dtype: of its products."""
    draws = Draws(7, 0, layer_starts(layers))
    computed = StageLayers(layers, has_below=True, draws=draws, autocast=dtype)
    updates = Updates(layers, Sgd(layers.parameters(), lr=0.5))
    return Stage(1, computed, updates, loss=make_loss("cross-entropy", (3,)))


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    """Normal numbers, the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def seeded(*modules: nn.Module) -> nn.Sequential:
    """Layers with the same weights every time."""
    layers = nn.Sequential(*modules)
    for place, parameter in enumerate(layers.parameters()):
        with torch.no_grad():
            parameter.copy_(0.5 * numbers(*parameter.shape, seed=place))
    return layers


@torch.no_grad()
def moved(layers: nn.Module) -> None:
    """Other weights, in the same memory, as an update leaves them."""
    for place, parameter in enumerate(layers.parameters()):
        parameter += 0.3 * numbers(*parameter.shape, seed=100 + place)


class Positions(nn.Module):
    """Uses a part of a weight, and a weight twice."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix = nn.Parameter(torch.zeros(9, 4)), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x times the first rows, mixed, and mixed again."""
        result: torch.Tensor = self.mix(self.mix(x * self.table[: x.shape[1]]).tanh())
        return result


class Pair(nn.Module):
    """Two values, of which both need a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """W x, and what comes of that."""
        first = self.first(x)
        return first, self.second(first.tanh())


class Recurrent(nn.Module):
    """An LSTM, its states left out."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Its outputs [B, T, 3]."""
        result: torch.Tensor = self.inner(x)[0]
        return result


KINDS = {
    "dense": (lambda: seeded(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), (6, 4)),
    "images": (
        lambda: seeded(
            nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten()
        ),
        (6, 4, 5, 5),
    ),
    "sequences": (
        lambda: seeded(
            nn.LayerNorm(4), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.GELU()
        ),
        (6, 7, 4),
    ),
    "parts": (lambda: seeded(Positions()), (6, 7, 4)),
    "states": (lambda: seeded(Recurrent()), (6, 7, 4)),
    "values": (lambda: seeded(nn.Linear(4, 4), Pair()), (6, 4)),
}


def pulled_back(
    stage: Stage, x: torch.Tensor, *, keeps_graph: bool
) -> tuple[Gradient, list[Gradient]]:
    """Pulled back as soon as the batch has been run: of the inputs, and of the parameters."""
    hidden = stage.forward(
        0, x.clone(), needs_input_gradient=True, keeps_graph=keeps_graph, is_late=keeps_graph
    )
    ends = [numbers(*each.shape, seed=9) for each in needing(hidden)]
    gradient = tuple(ends) if isinstance(hidden, Values) else ends[0]
    returned = stage.pull_back(0, gradient, source="returned gradient")
    assert returned is not None
    return returned, [p.grad.clone() for p in stage.layers.parameters() if p.grad is not None]


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_without_updates_in_between_it_is_the_gradient_of_a_replay(
    kind: str, dtype: torch.dtype | None
) -> None:
    make, shape = KINDS[kind]
    found = [
        pulled_back(stage_of(make(), dtype=dtype), numbers(*shape), keeps_graph=keeps_graph)
        for keeps_graph in (True, False)
    ]
    for one, other in zip(*map(gradients_of, (found[0][0], found[1][0])), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["fp32", "bf16"])
def test_activations_of_the_forward_and_weights_of_the_backward(dtype: torch.dtype | None) -> None:
    """Two linear layers with tanh between them, written out."""
    layers = seeded(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    stage, x, gradient = stage_of(layers, dtype=dtype), numbers(6, 4), numbers(6, 3, seed=2)
    then = copy.deepcopy(layers)
    stage.forward(0, x.clone(), needs_input_gradient=True, is_late=True)
    moved(layers)
    stage.forward(1, numbers(6, 4, seed=3), needs_input_gradient=True, is_late=True)
    moved(layers)
    returned = stage.pull_back(0, gradient, source="returned gradient")
    activation = torch.tanh(then[0](x))
    of_activation = gradient @ layers[2].weight * (1 - activation**2)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype is None else {"rtol": 0.05, "atol": 0.05}
    torch.testing.assert_close(returned, of_activation @ layers[0].weight, **tolerance)
    torch.testing.assert_close(layers[0].weight.grad, of_activation.t() @ x, **tolerance)
    torch.testing.assert_close(layers[2].weight.grad, gradient.t() @ activation, **tolerance)


def test_a_convolution_a_norm_and_a_mask() -> None:
    """The mask and the statistics are those of the forward, the weights those of the backward."""
    layers = seeded(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(inplace=True))
    stage, x, gradient = stage_of(layers), numbers(6, 2, 5, 5), numbers(6, 3, 3, 3, seed=2)
    hidden = stage.forward(0, x.clone(), needs_input_gradient=True, is_late=True)
    convolved = functional.conv2d(x, layers[0].weight).detach()
    moved(layers)
    returned = stage.pull_back(0, gradient, source="returned gradient")

    mean, variance = convolved.mean((0, 2, 3)), convolved.var((0, 2, 3), unbiased=False)
    spread = (variance + layers[1].eps).sqrt()[:, None, None]
    normal = (convolved - mean[:, None, None]) / spread
    of_norm = gradient * (hidden > 0)
    assert isinstance(of_norm, torch.Tensor)
    of_normal = of_norm * layers[1].weight[:, None, None]
    means = (of_normal.mean((0, 2, 3)), (of_normal * normal).mean((0, 2, 3)))
    of_convolved = (of_normal - means[0][:, None, None] - normal * means[1][:, None, None]) / spread
    expected = torch.nn.grad.conv2d_input(x.shape, layers[0].weight, of_convolved)
    torch.testing.assert_close(returned, expected)
    torch.testing.assert_close(layers[1].weight.grad, (of_norm * normal).sum((0, 2, 3)))


def test_statistics_count_a_batch_once_and_masks_are_its_own() -> None:
    layers = seeded(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout())
    reference = copy.deepcopy(layers)
    stage = stage_of(layers)
    batches = [numbers(6, 4, seed=batch_id) for batch_id in range(3)]
    hidden = [
        stage.forward(batch_id, x.clone(), needs_input_gradient=True, is_late=True)
        for batch_id, x in enumerate(batches)
    ]
    for batch_id, x in enumerate(batches):
        reference(x)
        moved(layers)
        stage.pull_back(batch_id, torch.ones(6, 4), source="returned gradient")
        kept = (hidden[batch_id] != 0).sum(0)
        torch.testing.assert_close(layers[1].bias.grad, 2.0 * kept)
        stage.discard()
    assert torch.equal(layers[1].running_mean, reference[1].running_mean)
    assert torch.equal(layers[1].running_var, reference[1].running_var)
    assert layers[1].num_batches_tracked == 3


class Counted(nn.Module):
    """Multiplies by what it writes to at every forward: a buffer, or its own output."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rate", torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """rate x."""
        self.rate.mul_(0.5)
        return x * self.rate


def test_a_buffer_that_forwards_write_to_is_kept_as_it_was() -> None:
    stage = stage_of(nn.Sequential(nn.Linear(4, 4), Counted()))
    for batch_id in range(3):
        stage.forward(batch_id, numbers(6, 4), needs_input_gradient=True, is_late=True)
    for batch_id in range(3):
        returned = stage.pull_back(batch_id, torch.ones(6, 4), source="returned gradient")
        expected = torch.full((6, 4), 0.5 ** (batch_id + 1)) @ stage.layers[0].weight
        torch.testing.assert_close(returned, expected)


def test_what_else_is_written_to_is_an_error_as_it_is_in_torch() -> None:
    layers = nn.Sequential(nn.Linear(4, 4))
    x = numbers(6, 4)
    with late.late_graph(layers):
        outputs = layers(x)
    x.add_(1)
    with pytest.raises(RuntimeError, match=r"shape \[6, 4\] .* modified by an inplace operation"):
        outputs.sum().backward()


def test_a_parameter_that_is_put_elsewhere_is_found_there() -> None:
    layer = nn.Linear(4, 3)
    x = numbers(6, 4).requires_grad_()
    with late.late_graph(layer):
        outputs = layer(x)
    layer.weight.data = torch.ones(3, 4)
    outputs.backward(torch.ones(6, 3))
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full((6, 4), 3.0))


def test_no_copy_of_a_converted_weight_is_kept() -> None:
    """Under autocast there would be one for each batch in flight."""
    layers, kept = seeded(nn.Linear(64, 64), nn.Linear(64, 64)), []
    keep = late._keeper(layers, ())
    with (
        torch.autocast("cpu", torch.bfloat16),
        saved_tensors_hooks(lambda tensor: kept.append(keep(tensor)), lambda _: torch.empty(0)),
    ):
        layers(numbers(2, 64))
    weights = [each for each in kept if isinstance(each, late._Weight)]
    assert [each.dtype for each in weights] == [torch.bfloat16]  # the first one's is not needed
    assert all(len(each.tensor) == 2 for each in kept if each not in weights)
