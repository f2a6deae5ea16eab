"""A stage: its numbers equal autograd's, and nothing that is not finite is ever applied."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from dni_async import NonFiniteError
from dni_async.stage.descent.optimizers import Sgd
from dni_async.stage.descent.rates import RateFactor
from dni_async.stage.descent.updates import Updates
from dni_async.stage.layers import StageLayers
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.stage import Stage

LOSS = make_loss("cross-entropy", (3,))
RATE = 0.5
INFINITY, NAN = float("inf"), float("nan")


def two_layers() -> nn.Sequential:
    """Two linear layers, the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def make_stage(
    layers: nn.Sequential,
    index: int = 0,
    *,
    rate_factor: RateFactor | None = None,
    accumulate: int = 1,
    clip_norm: float | None = None,
) -> Stage:
    """A stage whose update subtracts RATE times the gradient; the loss is of three classes."""
    updates = Updates(
        layers,
        Sgd(layers.parameters(), lr=RATE),
        rate_factor=rate_factor,
        accumulate=accumulate,
        clip_norm=clip_norm,
    )
    return Stage(
        index,
        StageLayers(layers, has_below=index > 0),
        updates,
        loss=LOSS,
    )


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    """Normal numbers, the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def snapshot(layers: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all weights and buffers."""
    return {name: tensor.clone() for name, tensor in layers.state_dict().items()}


def assert_unchanged(layers: nn.Module, before: dict[str, torch.Tensor]) -> None:
    """Every weight and buffer is what it was."""
    for name, tensor in layers.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_an_update_equals_autograd_by_hand() -> None:
    layers, reference = two_layers(), two_layers()
    x, gradient = random(6, 4), random(6, 3, seed=2)
    stage = make_stage(layers)

    hidden = stage.forward(0, x.clone(), needs_input_gradient=True)
    assert not hidden.requires_grad
    input_gradient = stage.update(0, gradient, source="synthetic gradient")

    inputs = x.clone().requires_grad_()
    expected = reference(inputs)
    wanted = [inputs, *reference.parameters()]
    of_input, *of_parameters = torch.autograd.grad(expected, wanted, gradient)
    assert torch.equal(hidden, expected)
    assert input_gradient is not None
    torch.testing.assert_close(input_gradient, of_input)
    for mine, its, step in zip(
        layers.parameters(), reference.parameters(), of_parameters, strict=True
    ):
        torch.testing.assert_close(mine, its - RATE * step)
    assert stage.version == 1


def test_nothing_moves_between_pulling_back_and_applying() -> None:
    """So that the gradient of the inputs can go down before the update takes its time."""
    halves, whole = make_stage(two_layers()), make_stage(two_layers())
    before = snapshot(halves.layers)
    for stage in (halves, whole):
        stage.forward(0, random(6, 4), needs_input_gradient=True)
    early = halves.pull_back(0, random(6, 3), source="returned gradient")
    assert_unchanged(halves.layers, before)
    assert halves.version == 0
    halves.apply()
    late = whole.update(0, random(6, 3), source="returned gradient")
    assert_unchanged(halves.layers, snapshot(whole.layers))
    assert halves.version == whole.version == 1
    assert early is not None
    assert late is not None
    assert torch.equal(early, late)


def test_updates_do_not_add_up_gradients_of_earlier_ones() -> None:
    layers, reference = two_layers(), two_layers()
    x, gradient = random(6, 4), random(6, 3, seed=2)
    stage = make_stage(layers)
    for batch_id in range(2):
        stage.forward(batch_id, x, needs_input_gradient=False)
        stage.update(batch_id, gradient, source="synthetic gradient")
        steps = torch.autograd.grad(reference(x), list(reference.parameters()), gradient)
        with torch.no_grad():
            for parameter, step in zip(reference.parameters(), steps, strict=True):
                parameter -= RATE * step
    for mine, its in zip(layers.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, its)


def test_no_input_gradient_where_none_is_asked_for() -> None:
    stage = make_stage(two_layers())
    stage.forward(0, random(6, 4), needs_input_gradient=False)
    assert stage.update(0, random(6, 3), source="loss gradient") is None


def test_a_late_gradient_still_meets_its_own_batch() -> None:
    """Two batches in flight: each is pulled back through its own graph and input."""
    stage = make_stage(nn.Sequential(nn.Linear(4, 3)))
    first, second, gradient = random(6, 4), random(6, 4, seed=3), random(6, 3, seed=4)
    weight = stage.layers[0].weight
    before = weight.detach().clone()
    stage.forward(0, first, needs_input_gradient=False)
    stage.forward(1, second, needs_input_gradient=False)
    stage.update(1, gradient, source="returned gradient")
    torch.testing.assert_close(weight.detach(), before - RATE * gradient.t() @ second)


def test_a_batch_kept_without_its_graph_is_replayed_through_the_weights_of_its_time() -> None:
    layers = two_layers()
    stage = make_stage(layers)
    x, gradient = random(6, 4), random(6, 3, seed=4)
    kept = x.clone()
    early = stage.forward(0, kept, needs_input_gradient=True, keeps_graph=False)
    assert torch.equal(early, two_layers()(x))
    assert not early.requires_grad
    stage.forward(1, random(6, 4, seed=3), needs_input_gradient=False)
    stage.update(1, gradient, source="synthetic gradient")

    reference = copy.deepcopy(layers)  # the weights have moved on
    inputs = x.clone().requires_grad_()
    wanted = [inputs, *reference.parameters()]
    of_input, *of_parameters = torch.autograd.grad(reference(inputs), wanted, gradient)
    input_gradient = stage.update(0, gradient, source="returned gradient")
    assert input_gradient is not None
    torch.testing.assert_close(input_gradient, of_input)
    for mine, its, step in zip(
        layers.parameters(), reference.parameters(), of_parameters, strict=True
    ):
        torch.testing.assert_close(mine, its - RATE * step)


def test_a_replay_after_an_evaluation_is_in_training_mode() -> None:
    layers = with_batch_norm()
    stage = make_stage(layers)
    stage.forward(0, random(6, 4), needs_input_gradient=False, keeps_graph=False)
    stage.evaluate(random(6, 4, seed=9))
    stage.update(0, random(6, 5), source="returned gradient")
    assert layers.training


def test_loss_and_its_gradient_are_of_the_batch_mean() -> None:
    stage = make_stage(two_layers())
    x, labels = random(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    logits = stage.forward(0, x, needs_input_gradient=True).requires_grad_()
    value, gradient = stage.loss_gradient(0, labels)
    loss = functional.cross_entropy(logits, labels)
    assert value == loss.item()
    assert torch.equal(gradient, torch.autograd.grad(loss, logits)[0])


def by_hand_or_by_autograd() -> list[nn.Sequential]:
    """Layers that DenseLayers computes, and layers that it leaves to autograd."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        normed = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
    return [two_layers(), normed]


@pytest.mark.parametrize("layers", by_hand_or_by_autograd(), ids=["dense", "autograd"])
def test_a_gradient_is_carried_back_through_the_present_weights_and_moves_nothing(
    layers: nn.Sequential,
) -> None:
    stage = make_stage(layers)
    x, gradient = random(6, 4), random(6, 3, seed=4)
    stage.forward(0, x.clone(), needs_input_gradient=False, keeps_inputs=True)
    stage.update(0, random(6, 3, seed=5), source="synthetic gradient")
    before = snapshot(layers)
    carried = stage.carry_back(0, gradient, source="returned gradient")
    assert_unchanged(layers, before)
    assert all(parameter.grad is None for parameter in layers.parameters())
    inputs = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(copy.deepcopy(layers)(inputs), inputs, gradient)
    assert torch.equal(carried, expected)
    with pytest.raises(KeyError):
        stage.carry_back(0, gradient, source="returned gradient")


@pytest.mark.parametrize("layers", by_hand_or_by_autograd(), ids=["dense", "autograd"])
def test_a_carried_gradient_that_is_not_finite_is_named(layers: nn.Sequential) -> None:
    stage = make_stage(layers)
    stage.forward(7, random(6, 4), needs_input_gradient=False, keeps_inputs=True)
    stage.update(7, random(6, 3), source="synthetic gradient")
    with pytest.raises(NonFiniteError, match="batch 7: returned gradient"):
        stage.carry_back(7, torch.full((6, 3), NAN), source="returned gradient")


@pytest.mark.parametrize("most", [0.01, 1.0, 1e6])
def test_gradients_are_clipped_as_torch_clips_them(most: float) -> None:
    layers, reference = two_layers(), two_layers()
    stage = make_stage(layers, clip_norm=most)
    x, gradient = random(6, 4), random(6, 3, seed=2)
    stage.forward(0, x, needs_input_gradient=False)
    stage.update(0, gradient, source="synthetic gradient")
    reference(x).backward(gradient)
    torch.nn.utils.clip_grad_norm_(reference.parameters(), most)
    for mine, its in zip(layers.parameters(), reference.parameters(), strict=True):
        assert its.grad is not None
        torch.testing.assert_close(mine, its - RATE * its.grad)


def test_the_rate_follows_its_schedule() -> None:
    layers = nn.Sequential(nn.Linear(4, 3, bias=False))
    stage = make_stage(layers, rate_factor=[0.5, 0.0].__getitem__)
    x, gradient = random(6, 4), random(6, 3, seed=2)
    for factor in (0.5, 0.0):
        before = layers[0].weight.detach().clone()
        stage.forward(0, x, needs_input_gradient=False)
        stage.update(0, gradient, source="synthetic gradient")
        torch.testing.assert_close(
            layers[0].weight.detach(), before - factor * RATE * gradient.t() @ x
        )


def test_a_stale_gradient_can_be_given_a_smaller_rate_this_once() -> None:
    weights = []
    for rate in (1.0, 0.25):
        layers = nn.Sequential(nn.Linear(1, 1, bias=False))
        nn.init.zeros_(layers[0].weight)  # type: ignore[arg-type]
        stage = make_stage(layers)
        for each in (rate, 1.0):
            stage.forward(0, torch.ones(1, 1), needs_input_gradient=False)
            stage.pull_back(0, torch.ones(1, 1), source="returned gradient")
            stage.apply(rate=each)
        weights.append(layers.state_dict()["0.weight"].item())
    assert weights == [-2 * RATE, -1.25 * RATE]


def test_updates_outside_the_schedule_do_not_move_it_on() -> None:
    layers = nn.Sequential(nn.Linear(1, 1, bias=False))
    rates: list[float] = []

    def factor(update: int) -> float:
        rates.append(update)
        return 1.0

    stage = make_stage(layers, rate_factor=factor)
    for is_scheduled in (True, False, False, True):
        stage.forward(0, torch.ones(1, 1), needs_input_gradient=False)
        stage.pull_back(0, torch.ones(1, 1), source="synthetic gradient")
        stage.apply(is_scheduled=is_scheduled)
    assert rates == [0, 1, 1, 1]
    assert stage.version == 4


def test_gradients_that_are_discarded_move_nothing_and_are_gone() -> None:
    stage = make_stage(two_layers())
    before = snapshot(stage.layers)
    stage.forward(0, random(6, 4), needs_input_gradient=True)
    assert stage.pull_back(0, random(6, 3), source="synthetic gradient") is not None
    stage.discard()
    assert_unchanged(stage.layers, before)
    assert stage.version == 0
    assert all(parameter.grad is None for parameter in stage.layers.parameters())


def test_what_is_forgotten_is_gone() -> None:
    stage = make_stage(two_layers())
    stage.forward(0, random(6, 4), needs_input_gradient=False, keeps_inputs=True)
    stage.forget(0)
    stage.forget(0)  # whoever has nothing kept forgets nothing
    with pytest.raises(KeyError):
        stage.update(0, random(6, 3), source="late gradient")
    with pytest.raises(KeyError):
        stage.carry_back(0, random(6, 3), source="late gradient")


def test_a_batch_updates_once() -> None:
    stage = make_stage(two_layers())
    stage.forward(0, random(2, 4), needs_input_gradient=False)
    stage.update(0, random(2, 3), source="loss gradient")
    with pytest.raises(KeyError):
        stage.update(0, random(2, 3), source="loss gradient")


@pytest.mark.parametrize("bad", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize("source", ["synthetic gradient", "returned gradient"])
def test_a_gradient_that_is_not_finite_is_named_and_not_applied(bad: float, source: str) -> None:
    layers = two_layers()
    stage, before = make_stage(layers, index=2), snapshot(layers)
    gradient = random(6, 3)
    gradient[3, 1] = bad
    stage.forward(17, random(6, 4), needs_input_gradient=True)
    with pytest.raises(NonFiniteError) as caught:
        stage.update(17, gradient, source=source)
    assert (caught.value.stage, caught.value.batch_id, caught.value.tensor) == (2, 17, source)
    assert str(caught.value) == f"stage 2, batch 17: {source} is not finite"
    assert_unchanged(layers, before)
    assert stage.version == 0


def test_an_overflow_in_the_layers_is_named_by_the_parameter_and_not_applied() -> None:
    layers = two_layers()
    stage, before = make_stage(layers, index=1), snapshot(layers)
    stage.forward(5, torch.full((2, 4), 1e20), needs_input_gradient=False)
    with pytest.raises(NonFiniteError) as caught:
        stage.update(5, torch.full((2, 3), 1e30), source="returned gradient")
    assert caught.value.tensor == "gradient of 0.weight"
    assert_unchanged(layers, before)


@pytest.mark.parametrize("bad", [NAN, INFINITY])
def test_a_loss_that_is_not_finite_is_named_and_not_applied(bad: float) -> None:
    layers = two_layers()
    stage, before = make_stage(layers, index=3), snapshot(layers)
    x = random(6, 4)
    x[0, 0] = bad
    stage.forward(8, x, needs_input_gradient=True)
    with pytest.raises(NonFiniteError) as caught:
        stage.loss_gradient(8, torch.zeros(6, dtype=torch.int64))
    assert (caught.value.stage, caught.value.batch_id, caught.value.tensor) == (3, 8, "loss")
    assert_unchanged(layers, before)


def test_a_huge_gradient_with_an_overflowing_sum_is_applied() -> None:
    """Every term is finite, though adding them up gives infinity."""
    layers = nn.Sequential(nn.Linear(4, 3, bias=False))
    stage = Stage(
        0,
        StageLayers(layers, has_below=False),
        Updates(layers, Sgd(layers.parameters(), lr=1e-30)),
        loss=LOSS,
    )
    gradient = torch.full((1, 3), 2e38)
    assert gradient.sum().isinf()
    before = snapshot(layers)
    stage.forward(0, torch.ones(1, 4), needs_input_gradient=False)
    stage.check_gradient(0, gradient, "returned gradient")
    stage.update(0, gradient, source="returned gradient")
    assert stage.version == 1
    assert not torch.equal(layers[0].weight, before["0.weight"])
    assert torch.isfinite(layers[0].weight).all()


@pytest.mark.parametrize("values", [[NAN, 1.0], [INFINITY, -INFINITY], [-INFINITY, 1.0]])
def test_a_returned_gradient_is_checked_before_a_synthesizer_learns(values: list[float]) -> None:
    stage = make_stage(two_layers(), index=1)
    with pytest.raises(NonFiniteError, match="stage 1, batch 4: returned gradient is not finite"):
        stage.check_gradient(4, torch.tensor(values), "returned gradient")


def with_batch_norm() -> nn.Sequential:
    """Layers that behave differently in training and evaluation."""
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5))


def test_evaluation_leaves_running_statistics_alone() -> None:
    layers = with_batch_norm()
    stage, before = make_stage(layers), snapshot(layers)
    outputs = stage.evaluate(random(6, 4))
    assert_unchanged(layers, before)
    assert torch.equal(outputs, stage.evaluate(random(6, 4)))  # no dropout
    assert not outputs.requires_grad


def test_training_after_evaluation_trains_again() -> None:
    stage = make_stage(with_batch_norm())
    stage.evaluate(random(6, 4))
    before = snapshot(stage.layers)
    stage.forward(0, random(6, 4), needs_input_gradient=False)
    assert stage.layers.training
    assert not torch.equal(stage.layers.state_dict()["1.running_mean"], before["1.running_mean"])


def test_evaluation_between_forward_and_update_changes_nothing() -> None:
    layers = two_layers()
    twin = copy.deepcopy(layers)
    for stage, pauses in ((make_stage(layers), True), (make_stage(twin), False)):
        stage.forward(0, random(6, 4), needs_input_gradient=False)
        if pauses:
            stage.evaluate(random(6, 4, seed=9))
        stage.update(0, random(6, 3), source="returned gradient")
    assert_unchanged(layers, snapshot(twin))


def test_frozen_weights_stay() -> None:
    layers = two_layers()
    layers[0].weight.requires_grad_(False)
    updates = Updates(layers, Sgd(layers.parameters(), lr=RATE, weight_decay=0.1))
    stage = Stage(0, StageLayers(layers, has_below=False), updates, loss=LOSS)
    before = snapshot(layers)
    stage.forward(0, random(6, 4), needs_input_gradient=True)
    stage.update(0, random(6, 3), source="returned gradient")
    assert torch.equal(layers[0].weight, before["0.weight"])
    assert not torch.equal(layers[2].weight, before["2.weight"])
