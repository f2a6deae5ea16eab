"""A whole line of stages and boundaries trained on numbers, by every way to predict a gradient."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from benchmarks.in_order.in_order import ReferenceLine
from dni_async.config.run_config import RunConfig
from dni_async.decisions.rules import AnchorRule, BackpropRule, BootstrapRule, NoBackpropRule, Rule
from dni_async.network.building import cut_stage
from dni_async.stage.draws import Draws
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.losses.interface import Loss
from dni_async.stage.losses.score import add_scores
from dni_async.stage.making import make_stage
from dni_async.synthesizers.making import make_boundary

NUM_BATCHES, BATCH_SIZE = 200, 32


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Layers this small are not worth a second one."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def network() -> nn.Sequential:
    """Three layers with two outputs, the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            *(nn.Linear(5, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 2))
        )


def make_line(config: RunConfig, loss: Loss, rule: Rule) -> ReferenceLine:
    """A stage for each layer, made as a run makes them."""
    whole, stages = network(), []
    for index in range(3):
        layers = cut_stage(whole, index, index + 1)
        draws = Draws(0, index, [0])
        stages.append(
            make_stage(layers, config, loss, index=index, num_batches=NUM_BATCHES, draws=draws)
        )
    torch.manual_seed(1)
    boundaries = [make_boundary(config, loss, torch.device("cpu")) for _ in range(2)]
    return ReferenceLine(stages, boundaries, rule)


def batch(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples [B, 5] and two smooth functions of them [B, 2]."""
    x = torch.randn(BATCH_SIZE, 5, generator=torch.Generator().manual_seed(number))
    return x, torch.stack((x[:, 0] - 2 * x[:, 1], (x[:, 2] * x[:, 3]).tanh()), 1)


def loss_after_training(config: RunConfig, rule: Rule) -> float:
    """The mean squared error on samples that the line has not seen."""
    loss = make_loss("mse", (2,))
    line = make_line(config, loss, rule)
    for number in range(NUM_BATCHES):
        line.train(*batch(number))
    unseen = [batch(NUM_BATCHES + number) for number in range(8)]
    return add_scores([loss.score(line.evaluate(x), y) for x, y in unseen]).means["loss"]


@pytest.mark.parametrize(
    ("settings", "rule", "most"),
    [
        ({"synthesizer": "critic"}, AnchorRule(0), 0.2),
        ({"synthesizer": "critic", "synthesizer_layers": 1}, AnchorRule(0), 0.2),
        ({"synthesizer": "critic"}, AnchorRule(4), 0.2),
        ({"synthesizer": "critic"}, BootstrapRule(), 0.2),
        ({"synthesizer": "linear"}, BootstrapRule(), 0.2),
        ({"synthesizer": "mlp", "synthesizer_width": 16}, BootstrapRule(), 0.9),
    ],
    ids=["critic", "deep", "anchors", "bootstrap", "linear", "mlp"],
)
def test_the_layers_below_learn_what_the_head_alone_cannot(
    settings: dict[str, object], rule: Rule, most: float
) -> None:
    config = RunConfig.from_dict({"lr": 0.01, "synthesizer_lr": 0.01, **settings})
    alone = loss_after_training(config, NoBackpropRule())
    assert loss_after_training(config, rule) < most * alone


def test_backpropagation_on_numbers_is_torchs() -> None:
    """Bit for bit: the same products, the same fused kernels."""
    line = make_line(RunConfig(lr=0.01), make_loss("mse", (2,)), BackpropRule())
    plain = network()
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.01, fused=True)
    for number in range(5):
        x, targets = batch(number)
        value = nn.functional.mse_loss(plain(x), targets)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        assert line.train(x, targets) == value.item()
    own = {name: p for layers in line.layers for name, p in layers.state_dict().items()}
    assert all(torch.equal(own[name], p) for name, p in plain.state_dict().items())
