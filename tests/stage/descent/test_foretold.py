"""Late batches run forward with the weights that the last update foretells for their own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
import torch
from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.network.building import layer_starts
from dni_async.stage.descent.foretold import Foretold
from dni_async.stage.descent.optimizers import Sgd
from dni_async.stage.descent.updates import Updates
from dni_async.stage.draws import Draws
from dni_async.stage.layers import StageLayers
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.making import make_stage
from dni_async.stage.stage import Stage

LOSS = make_loss("cross-entropy", (2,))
W = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
X = torch.tensor([[2.0, -1.0]])
G = torch.tensor([[0.25, -0.5]])
RATE = 0.5
STEP = -RATE * G.t() @ X  # of an update with G at X


def linear() -> nn.Sequential:
    """x to W x."""
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(W)
    return nn.Sequential(layer)


def stage_of(layers: nn.Sequential, foretells: float) -> Stage:
    """A stage above the source, by plain descent."""
    computed = StageLayers(layers, has_below=True, draws=Draws(0, 0, layer_starts(layers)))
    updates = Updates(layers, Sgd(layers.parameters(), lr=RATE), foretells=foretells)
    return Stage(1, computed, updates, loss=LOSS)


def forward(stage: Stage, batch: int, *, keeps_graph: bool = True) -> torch.Tensor:
    """Of a batch of X."""
    found = stage.forward(
        batch, X.clone(), needs_input_gradient=True, keeps_graph=keeps_graph, is_late=keeps_graph
    )
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.parametrize("keeps_graph", [True, False], ids=["kept", "replay"])
@pytest.mark.parametrize(
    "layers", [linear, lambda: nn.Sequential(*linear(), nn.Identity())], ids=["by-hand", "autograd"]
)
def test_a_forward_goes_by_the_updates_that_come_first(
    layers: Callable[[], nn.Sequential], keeps_graph: bool
) -> None:
    """h = x (W + d (W - V))', d batches being in flight and V the weights of before."""
    made = layers()
    stage, weight = stage_of(made, 1.0), next(made.parameters())
    for batch in range(3):  # nothing is known before an update
        hidden = forward(stage, batch, keeps_graph=keeps_graph)
        torch.testing.assert_close(hidden, X @ W.t())
    returned = stage.update(0, G, source="returned gradient")
    torch.testing.assert_close(returned, G @ W)
    torch.testing.assert_close(weight.detach(), W + STEP)
    present = weight.detach().clone()
    hidden = forward(stage, 3, keeps_graph=keeps_graph)  # behind 1 and 2
    torch.testing.assert_close(hidden, X @ (W + 3 * STEP).t())
    assert torch.equal(weight, present)
    returned = stage.update(1, G, source="returned gradient")
    torch.testing.assert_close(returned, G @ (W + STEP))  # through the weights of now


def test_without_a_batch_in_flight_it_is_a_plain_forward() -> None:
    layers = linear()
    stage = stage_of(layers, 1.0)
    for batch in range(2):
        present = layers[0].weight.detach().clone()
        assert torch.equal(forward(stage, batch), X @ present.t())
        stage.update(batch, G, source="returned gradient")


def test_gathered_batches_come_to_fewer_updates() -> None:
    layers = linear()
    stage = stage_of(layers, 0.5)
    forward(stage, 0)
    forward(stage, 1)
    stage.update(0, G, source="returned gradient")
    torch.testing.assert_close(forward(stage, 2), X @ (W + 1.5 * STEP).t())


def test_the_weights_are_put_back_after_an_error() -> None:
    parameter = nn.Parameter(W.clone())
    foretold, weight = Foretold([parameter]), parameter.detach()
    with foretold.ahead(2):
        assert torch.equal(weight, W)
    foretold.note()
    weight += STEP
    with suppress(ValueError), foretold.ahead(2):
        torch.testing.assert_close(weight, W + 3 * STEP)
        raise ValueError
    assert torch.equal(weight, W + STEP)


def test_layers_without_weights_of_their_own_stay() -> None:
    stage = stage_of(nn.Sequential(nn.Tanh()), 1.0)
    for batch in range(2):
        forward(stage, batch)
    stage.updates.apply()
    torch.testing.assert_close(forward(stage, 2), X.tanh())


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"rule": "fdg"}, 1.0),
        ({"rule": "fdg", "accumulate": 2}, 0.5),
        ({"rule": "fdg", "update_probability": 0.5}, 0.5),
        ({"rule": "fdg", "foretell_weights": False}, 0.0),
        ({"rule": "backprop"}, 0.0),
        ({"anchor_updates": True}, 0.0),
    ],
)
def test_who_looks_ahead(settings: dict[str, object], steps: float) -> None:
    """One batch in flight, after one update."""
    layers = linear()
    config = RunConfig.from_dict({"optimizer": "sgd", "lr": RATE} | settings)
    draws = Draws(0, 0, layer_starts(layers))
    stage = make_stage(layers, config, LOSS, index=1, num_batches=8, draws=draws)
    with stage.updates.ahead(1):
        pass
    before = layers[0].weight.detach().clone()
    for _ in range(config.accumulate):
        layers[0].weight.grad = G.t() @ X
        stage.apply()
    present = layers[0].weight.detach().clone()
    with stage.updates.ahead(1):
        torch.testing.assert_close(layers[0].weight.detach(), present + steps * (present - before))
