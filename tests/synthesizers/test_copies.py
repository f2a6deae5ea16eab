"""A copy of what lies above: the gradient of the run's loss through it, and its own update."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.stage.dense import lone_linear
from dni_async.stage.descent.optimizers import Sgd
from dni_async.stage.losses.catalog import run_loss
from dni_async.stage.losses.interface import Loss
from dni_async.stage.values import Gradient, Values, gathered
from dni_async.synthesizers.boundary import WHOLE, Boundary
from dni_async.synthesizers.copies import CopySynthesizer, LinearCopy
from dni_async.synthesizers.critic import CriticSynthesizer
from dni_async.synthesizers.making import make_boundary
from tests.stage.test_stage import random

CPU = torch.device("cpu")
LABELS = run_loss(RunConfig(), TargetForm(3), (3,))
POSITIONS = run_loss(RunConfig(), TargetForm(3, (5,)), (5, 3))
NUMBERS = run_loss(RunConfig(loss="mse"), TargetForm(0, (2,), "float32"))


def copied(network: nn.Module, loss: Loss, **settings: Any) -> CopySynthesizer:
    """Whose update subtracts the gradient itself."""
    return CopySynthesizer(
        nn.Sequential(network), loss, lambda weights: Sgd(weights, lr=1.0), **settings
    )


def boundary_of(made: CopySynthesizer, loss: Loss) -> Boundary:
    return Boundary(lambda _: made, loss, make_whole=lambda _: made)


def case(loss: Loss) -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    """A way, an activation and its targets."""
    torch.manual_seed(0)
    if loss is POSITIONS:
        norm_first = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 3))
        return norm_first, random(4, 5, 6), torch.arange(20).reshape(4, 5) % 3
    outputs = 2 if loss is NUMBERS else 3
    images = nn.Sequential(
        nn.ReLU(inplace=True),
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, outputs),
    )
    return images, random(4, 2, 6, 6), random(4, 2) if loss is NUMBERS else torch.arange(4) % 3


@pytest.mark.parametrize("loss", [LABELS, POSITIONS, NUMBERS], ids=["rows", "positions", "numbers"])
def test_it_is_the_gradient_of_the_loss_above_it_and_learns_by_it(loss: Loss) -> None:
    network, hidden, targets = case(loss)
    plain, leaf = copy.deepcopy(network), hidden.clone().requires_grad_()
    value = loss.mean(plain(leaf * 1), targets)
    wanted, *taught = torch.autograd.grad(value, [leaf, *plain.parameters()])
    made = copied(network, loss)
    found = boundary_of(made, loss).predict(hidden, targets)
    assert isinstance(found, torch.Tensor)
    torch.testing.assert_close(found, wanted)
    for before, gradient, now in zip(
        plain.parameters(), taught, made.network.parameters(), strict=True
    ):
        torch.testing.assert_close(before - now, gradient)


def test_its_units_are_those_of_samples() -> None:
    """Four times five positions: 20 times the gradient of their mean loss."""
    network, hidden, targets = case(POSITIONS)
    mean = boundary_of(copied(copy.deepcopy(network), POSITIONS), POSITIONS)
    found = copied(network, POSITIONS).predict(hidden, targets)
    torch.testing.assert_close(found / 20, mean.predict(hidden, targets))


def test_returned_gradients_are_compared_and_teach_nothing() -> None:
    network, hidden, targets = case(LABELS)
    made = copied(network, LABELS)
    boundary = boundary_of(made, LABELS)
    before = [p.detach().clone() for p in network.parameters()]
    returned = torch.randn_like(hidden)
    boundary.learn(hidden, targets, returned)
    assert all(map(torch.equal, before, network.parameters()))
    synthetic = boundary.predict(hidden, targets)
    assert isinstance(synthetic, torch.Tensor)
    wanted = torch.nn.functional.cosine_similarity(synthetic.flatten(), returned.flatten(), 0)
    assert boundary.comparison.take().cosine == pytest.approx(wanted.item(), abs=1e-5)


def test_what_it_knows_beside_weights_travels_and_what_is_frozen_stays() -> None:
    network, hidden, targets = case(LABELS)
    network[5].requires_grad_(requires_grad=False)
    frozen = [p.detach().clone() for p in network[5].parameters()]
    made = copied(network, LABELS)
    boundary = boundary_of(made, LABELS)
    boundary.predict(hidden, targets)
    assert all(map(torch.equal, frozen, network[5].parameters()))
    state = network.state_dict()
    held = [t for n, t in boundary.tensors().items() if n.startswith("parameter/")]
    assert len(held) == len(state) == 9  # running mean, variance and their count are three
    assert network[2].running_mean.abs().sum() > 0  # type: ignore[union-attr, operator]


def test_what_the_outputs_do_not_depend_on_gets_zero() -> None:
    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logits, self.unused = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return self.logits.expand(len(hidden), 3)

    made = copied(Deaf(), LABELS)
    assert torch.equal(made.predict(random(2, 4), torch.tensor([0, 1])), torch.zeros(2, 4))
    assert [p.abs().sum() > 0 for p in made.network.parameters()] == [True, False]


def test_a_reentrant_checkpoint_in_a_copy_is_no_obstacle() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 3)

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return cast("torch.Tensor", checkpoint(self.inner, hidden, use_reentrant=True))

    torch.manual_seed(0)
    made, hidden = copied(Checkpointed(), LABELS), random(4, 6)
    plain = copied(copy.deepcopy(made.network[0].inner), LABELS)  # type: ignore[arg-type, union-attr]
    targets = torch.arange(4) % 3
    assert torch.equal(made.predict(hidden, targets), plain.predict(hidden, targets))


def test_batches_of_another_size_need_no_other_copy() -> None:
    network, hidden, targets = case(POSITIONS)
    boundary = boundary_of(copied(network, POSITIONS), POSITIONS)
    boundary.predict(hidden, targets)
    shorter = boundary.predict(hidden[:2, :3], targets[:2, :3])
    assert isinstance(shorter, torch.Tensor)
    assert shorter.shape == (2, 3, 6)


def test_it_computes_in_the_runs_format() -> None:
    network, hidden, targets = case(POSITIONS)
    boundary = boundary_of(copied(network, POSITIONS, autocast=torch.bfloat16), POSITIONS)
    found = boundary.predict(hidden.bfloat16(), targets)
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.bfloat16
    assert found.isfinite().all()


FEWER = run_loss(RunConfig(), TargetForm(3, (5,), "int64", 1), (5, 3))  # label 1 does not count


@pytest.mark.parametrize(
    ("loss", "shape"),
    [
        (LABELS, (4, 6)),
        (LABELS, (4, 3, 2)),
        (POSITIONS, (4, 5, 6)),
        (FEWER, (4, 5, 6)),
        (NUMBERS, (4, 6)),
    ],
    ids=["rows", "images", "positions", "ignored", "numbers"],
)
def test_one_linear_layer_is_the_same_by_a_critics_products(
    loss: Loss, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    outputs = 2 if loss is NUMBERS else 3
    begin = [nn.Flatten()] if len(shape) == 3 and loss is LABELS else []
    network = nn.Sequential(nn.Sequential(*begin, nn.Linear(6, outputs)))
    plain = copied(copy.deepcopy(network), loss)
    linear = lone_linear(network)
    assert linear is not None
    made = LinearCopy(linear, loss, lambda weights: Sgd(weights, lr=1.0))
    positions = shape[:-1] if len(shape) == 3 and loss is not LABELS else shape[:1]
    targets = torch.arange(torch.Size(positions).numel()).reshape(positions) % 3
    targets = random(4, 2) if loss is NUMBERS else targets
    for seed in range(2):
        hidden = random(*shape, seed=seed)
        wanted = plain.learn(hidden, targets, hidden)
        torch.testing.assert_close(made.learn(hidden, targets, hidden), wanted)
        torch.testing.assert_close(made.predict(hidden, targets), plain.predict(hidden, targets))
    for ours, theirs in zip(made.parameters, plain.parameters, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_one_linear_layer_computes_in_the_format_of_the_activation() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 3))
    wanted = boundary_of(copied(copy.deepcopy(network), LABELS), LABELS)
    config = RunConfig(optimizer="sgd", momentum=0.0, lr=1.0, dtype="bf16")
    boundary = make_boundary(config, LABELS, CPU, lambda _: (network, True))
    hidden, targets = random(4, 6), torch.arange(4) % 3
    for _ in range(2):
        found = boundary.predict(hidden.bfloat16(), targets)
        assert isinstance(found, torch.Tensor)
        assert found.dtype == torch.bfloat16
        assert isinstance(boundary.make((6,), WHOLE), LinearCopy)
        close = wanted.predict(hidden, targets)
        torch.testing.assert_close(found.float(), close, atol=5e-3, rtol=5e-2)


def copy_above(shape: tuple[int, ...]) -> tuple[nn.Sequential, bool]:
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 3)), True


def test_several_values_are_read_out_one_by_one() -> None:
    boundary = make_boundary(RunConfig(synthesizer="copy"), LABELS, CPU, copy_above)
    values = gathered((random(4, 6).requires_grad_(), random(4, 3).requires_grad_()))
    assert isinstance(values, Values)
    found: Gradient = boundary.predict(values, torch.arange(4) % 3)
    assert len(found) == 2
    assert boundary.shapes == {0: (6,), 1: (3,)}
    assert all(isinstance(made, CriticSynthesizer) for made in boundary._made.values())


def test_what_a_checkpoint_brought_stays() -> None:
    of_samples = make_boundary(RunConfig(synthesizer="copy"), LABELS, CPU, copy_above)
    of_samples.make((6,), 0)
    of_samples.predict(random(4, 6), torch.arange(4) % 3)
    assert of_samples.shapes == {0: (6,)}
    whole = make_boundary(RunConfig(synthesizer="copy"), LABELS, CPU, copy_above)
    whole.make((6,), WHOLE)
    whole.predict(random(4, 6), torch.arange(4) % 3)
    assert whole.shapes == {WHOLE: (6,)}
