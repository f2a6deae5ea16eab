"""A forward may write into its input, draw, count: nothing is harmed, a replay repeats it."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dni_async.network.building import layer_starts
from dni_async.stage.descent.optimizers import Sgd
from dni_async.stage.descent.updates import Updates
from dni_async.stage.draws import Draws
from dni_async.stage.layers import StageLayers
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.stage import Stage
from dni_async.stage.volatile import undone


class Normalised(nn.Module):
    """Writes into what it is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x - 1, in place."""
        return x.sub_(1.0)


class Annealed(nn.Module):
    """Keeps what it counts as Python values and in a tensor that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature, self.seen, self.mean = 2.0, [0], torch.zeros(4)
        self.last, self.rows = {"rows": 5}, np.zeros(1)  # as the first forward leaves the one
        self.register_buffer("hidden", torch.zeros(4), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x / temperature."""
        if self.training:
            self.temperature *= 0.9
            self.seen.append(len(x))
            self.mean.add_(x.detach().mean(0))
            self.last = {"rows": len(x)}
            self.rows += len(x)
            self.hidden += 1
        return x / self.temperature


class Skipped(nn.Module):
    """A linear layer that is left out half of the time, by a generator of choice."""

    def __init__(self, draw: object) -> None:
        super().__init__()
        self.inner, self.draw = nn.Linear(4, 4), draw

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x + W x, or x itself."""
        return x if self.draw() < 0.5 else x + self.inner(x)  # type: ignore[operator]


class Checkpointed(nn.Module):
    """A reentrant checkpoint, whose layers learn only if its input requires a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x."""
        result: torch.Tensor = checkpoint(self.inner, x, use_reentrant=True)
        return result


def stage_of(layers: nn.Sequential, index: int = 1, first_layer: int = 0) -> Stage:
    """A stage above the source, whose draws are set."""
    draws = Draws(7, first_layer, layer_starts(layers))
    computed = StageLayers(layers, has_below=index > 0, draws=draws)
    return Stage(
        index,
        computed,
        Updates(layers, Sgd(layers.parameters(), lr=0.1)),
        loss=LOSS,
    )


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    """Normal numbers, the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("first", [Normalised(), nn.ReLU(inplace=True)], ids=["module", "relu"])
@pytest.mark.parametrize("needs", [True, False])
def test_what_is_given_stays_as_it_is(first: nn.Module, needs: bool) -> None:
    layers = nn.Sequential(first, nn.Linear(4, 3))
    stage = stage_of(layers)
    for batch_id in range(3):
        x = numbers(5, 4)
        stage.evaluate(x)
        kept = x.clone()
        stage.forward(batch_id, x, needs_input_gradient=needs)
        assert torch.equal(x.detach(), kept)
        returned = stage.pull_back(batch_id, numbers(5, 3), source="returned gradient")
        stage.discard()
        assert (returned is not None) is needs
    if needs:
        inputs = x.detach().clone().requires_grad_()
        (expected,) = torch.autograd.grad(layers(inputs.clone()), inputs, numbers(5, 3))
        assert returned is not None
        assert torch.equal(returned, expected)


def test_an_output_never_lies_in_the_memory_of_its_input() -> None:
    stage = stage_of(nn.Sequential(Skipped(lambda: 0.0), nn.Identity()))
    x = numbers(5, 4)
    hidden = stage.forward(0, x, needs_input_gradient=False)
    x.detach().zero_()
    assert torch.equal(hidden, numbers(5, 4))


def test_layers_that_are_skipped_get_no_gradient_and_pass_it_on() -> None:
    layers = nn.Sequential(Skipped(lambda: 0.0))
    stage = stage_of(layers)
    for needs in (True, False, True):
        stage.forward(0, numbers(5, 4), needs_input_gradient=needs)
        returned = stage.pull_back(0, numbers(5, 4, seed=2), source="returned gradient")
        assert all(parameter.grad is None for parameter in layers.parameters())
        assert needs is (returned is not None and torch.equal(returned, numbers(5, 4, seed=2)))


LOSS = make_loss("cross-entropy", (3,))
RANDOM = {
    "dropout": nn.Dropout(),
    "python": Skipped(random.random),
    "numpy": Skipped(np.random.random),
    "torch": Skipped(lambda: torch.rand(()).item()),
}


@pytest.mark.parametrize("module", RANDOM.values(), ids=RANDOM.keys())
def test_a_replay_repeats_what_was_drawn(module: nn.Module) -> None:
    """For update, for carry_back, and after other batches; another batch draws anew."""
    layers = nn.Sequential(nn.Linear(4, 4), module)
    stage = stage_of(layers)
    gradients = []
    for batch_id in range(8):
        x = numbers(5, 4)
        stage.forward(batch_id, x.clone(), needs_input_gradient=True, keeps_inputs=True)
        expected = stage.pull_back(batch_id, numbers(5, 4), source="synthetic gradient")
        stage.discard()
        stage.forward(batch_id, x.clone(), needs_input_gradient=True, keeps_graph=False)
        stage.forward(batch_id + 100, x.clone(), needs_input_gradient=False)
        torch.rand(3), random.random(), np.random.random()
        for returned in (
            stage.carry_back(batch_id, numbers(5, 4), source="returned gradient"),
            stage.pull_back(batch_id, numbers(5, 4), source="returned gradient"),
        ):
            assert expected is not None
            assert torch.equal(returned, expected)
        stage.discard()
        gradients.append(expected)
    assert any(not torch.equal(gradients[0], other) for other in gradients[1:])


def test_draws_do_not_depend_on_the_stages_and_leave_the_generator_alone() -> None:
    def layers() -> nn.Sequential:
        torch.manual_seed(0)
        linears = [nn.Sequential(nn.Linear(4, 4), nn.Dropout()) for _ in range(3)]
        return nn.Sequential(*linears)

    whole = stage_of(layers(), index=0)
    cut = layers()
    lower, upper = stage_of(cut[:1], 0), stage_of(cut[1:], 1, first_layer=1)
    before = torch.get_rng_state()
    expected = whole.forward(3, numbers(5, 4), needs_input_gradient=False)
    hidden = lower.forward(3, numbers(5, 4), needs_input_gradient=False)
    assert torch.equal(upper.forward(3, hidden, needs_input_gradient=False), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_replay_counts_nothing_twice() -> None:
    """Running statistics with and without momentum, Python values, lists, plain tensors."""
    layers = nn.Sequential(
        nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4, momentum=None), Annealed()
    )
    reference = copy.deepcopy(layers)
    stage = stage_of(layers)
    for batch_id in range(3):
        x = numbers(5, 4, seed=batch_id)
        reference(x)
        stage.forward(batch_id, x, needs_input_gradient=True, keeps_graph=False, keeps_inputs=True)
        stage.carry_back(batch_id, numbers(5, 4), source="returned gradient")
        stage.pull_back(batch_id, numbers(5, 4), source="returned gradient")
        stage.discard()
    for name, buffer in reference.named_buffers():
        assert torch.equal(layers.get_buffer(name), buffer), name
    assert layers[3].temperature == reference[3].temperature
    assert layers[3].seen == reference[3].seen == [0, 5, 5, 5]
    assert torch.equal(layers[3].mean, reference[3].mean)
    assert layers[3].rows == [15]

    for batch_id, num_rows in ((3, 5), (4, 6)):
        x = numbers(num_rows, 4)
        stage.forward(batch_id, x, needs_input_gradient=True, keeps_graph=False, keeps_inputs=True)
    stage.carry_back(3, numbers(5, 4), source="returned gradient")
    assert layers[3].last == {"rows": 6}
    assert layers[3].rows == [26]


def test_a_reentrant_checkpoint_learns_where_no_gradient_of_the_inputs_is_needed() -> None:
    layers = nn.Sequential(Checkpointed(), nn.Linear(4, 3))
    stage = stage_of(layers)
    for batch_id in range(3):
        stage.forward(
            batch_id, numbers(5, 4), needs_input_gradient=False, keeps_inputs=batch_id == 2
        )
        assert stage.pull_back(batch_id, numbers(5, 3), source="synthetic gradient") is None
        inputs = numbers(5, 4).requires_grad_()
        expected = torch.autograd.grad(
            layers[1](layers[0].inner(inputs)), [inputs, *layers.parameters()], numbers(5, 3)
        )
        for parameter, gradient in zip(layers.parameters(), expected[1:], strict=True):
            assert parameter.grad is not None
            assert torch.equal(parameter.grad, gradient)
        stage.discard()
    carried = stage.carry_back(2, numbers(5, 3), source="returned gradient")
    assert torch.equal(carried, expected[0])
    assert all(parameter.grad is None for parameter in layers.parameters())


def test_hooks_on_parameters_and_a_forward_of_its_own_are_not_passed_over() -> None:
    """Though the layers are linear ones, whose gradients are else computed by hand."""
    hooked, patched = nn.Linear(4, 3), nn.Linear(4, 3)
    hooked.weight.register_hook(torch.zeros_like)
    patched.forward = torch.zeros_like  # type: ignore[method-assign]
    stage = stage_of(nn.Sequential(hooked))
    stage.forward(0, numbers(5, 4), needs_input_gradient=False)
    stage.pull_back(0, numbers(5, 3), source="synthetic gradient")
    assert hooked.weight.grad is not None
    assert not hooked.weight.grad.any()
    outputs = stage_of(nn.Sequential(patched)).forward(1, numbers(5, 4), needs_input_gradient=False)
    assert not outputs.any()


def test_what_a_warm_up_does_beside_parameters_is_undone() -> None:
    """Hidden buffers, which no module has among its attributes, among it."""
    layers = nn.Sequential(Annealed(), nn.BatchNorm1d(4))
    module, seen = layers[0], layers[0].seen
    before = {name: buffer.clone() for name, buffer in layers.named_buffers()}
    with undone(layers):
        layers.train()(numbers(5, 4))
        assert module.hidden.all()
        assert seen == [0, 5]
    assert (module.temperature, module.seen, seen) == (2.0, [0], [0])
    for name, buffer in layers.named_buffers():
        assert torch.equal(buffer, before[name]), name
    assert not module.mean.any()


def test_layers_that_share_a_weight_add_up_their_gradients() -> None:
    """Though they are linear ones, whose gradients are else computed by hand, each into its own."""
    layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    layers[2].weight = layers[0].weight
    stage = stage_of(layers)
    stage.forward(0, numbers(5, 4), needs_input_gradient=False)
    stage.pull_back(0, numbers(5, 4), source="synthetic gradient")
    (expected,) = torch.autograd.grad(layers(numbers(5, 4)), layers[0].weight, numbers(5, 4))
    assert torch.equal(layers[0].weight.grad, expected)
