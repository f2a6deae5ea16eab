"""A whole line of stages and boundaries trained on numbers, by every way to predict a gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from dni_async.config.assembly import make_stage_machine
from dni_async.config.run_config import RunConfig
from dni_async.data.inputs import Inputs
from dni_async.decisions.rules import AnchorRule, BackpropRule, BootstrapRule, NoBackpropRule, Rule
from dni_async.network.building import cut_stage
from dni_async.stage.draws import Draws
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.making import make_stage
from dni_async.synthesizers.making import make_boundary
from dni_async.transport.staging import Staging
from dni_async.wire.messages import Evaluated, Welcome
from dni_async.workers.in_memory import RUN_ID, InMemoryLine, Part
from dni_async.workers.startup.equipment import Equipment

NUM_BATCHES, BATCH_SIZE = 200, 32
TOLD = ("cpu", 1, "", "", (5,), False, 2, NUM_BATCHES)  # what a Welcome says beside the stage


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


def batch(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples [B, 5] and two smooth functions of them [B, 2]."""
    x = torch.randn(BATCH_SIZE, 5, generator=torch.Generator().manual_seed(number))
    return x, torch.stack((x[:, 0] - 2 * x[:, 1], (x[:, 2] * x[:, 3]).tanh()), 1)


class Numbers(Inputs):
    """An epoch of num_train_batches batches of numbers, then test batches nobody has seen."""

    num_test_batches = 8

    def __init__(self, num_train_batches: int) -> None:
        self._num_train_batches = num_train_batches

    @property
    def num_train_batches(self) -> int:
        """As many as were asked for."""
        return self._num_train_batches

    def train_batch(self, epoch: int, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Another one each time."""
        return batch((epoch - 1) * self._num_train_batches + index)

    def test_batch(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """None of those trained on."""
        return batch(NUM_BATCHES + index)


def make_line(config: RunConfig, rule: Rule, inputs: Inputs) -> InMemoryLine:
    """A stage for each layer, as a worker runs it, under the squared error."""
    config = dataclasses.replace(config, metrics=("mae",))  # what are no classes has no accuracy
    whole, parts, loss = network(), [], make_loss("mse", (2,))
    torch.manual_seed(1)
    for index in range(3):
        machine = make_stage_machine(
            config,
            rule,
            stage=index,
            num_stages=3,
            num_batches=inputs.num_batches if index == 0 else None,
        )
        equipment = Equipment(
            machine=machine,
            rule=rule,
            stage=make_stage(
                cut_stage(whole, index, index + 1),
                config,
                loss,
                index=index,
                num_batches=NUM_BATCHES,
                draws=Draws(0, index, [0]),
            ),
            staging=Staging("cpu"),
            boundary=make_boundary(config, loss, torch.device("cpu"))
            if index < 2 and rule.needs_synthesizer
            else None,
            inputs=inputs if index == 0 else None,
            input_synthesizer=None,
        )
        parts.append(Part(Welcome(RUN_ID, 3, index, index + 1, *TOLD), equipment))
    return InMemoryLine(config, parts)


def loss_after_training(config: RunConfig, rule: Rule) -> float:
    """The mean squared error on samples that the line has not seen."""
    line = make_line(config, rule, Numbers(NUM_BATCHES))
    line.run()
    (evaluated,) = (message for _, message in line.told if isinstance(message, Evaluated))
    return evaluated.loss


@pytest.mark.parametrize(
    ("settings", "rule", "most"),
    [
        ({"synthesizer": "critic"}, AnchorRule(0), 0.2),
        ({"synthesizer": "critic", "synthesizer_layers": 1}, AnchorRule(0), 0.2),
        ({"synthesizer": "critic"}, AnchorRule(4), 0.2),
        ({"synthesizer": "critic"}, BootstrapRule(), 0.2),
        ({"synthesizer": "linear"}, BootstrapRule(), 0.2),
        (
            {"synthesizer": "mlp", "synthesizer_width": 16, "synthesizer_lr": 0.003},
            BootstrapRule(),
            0.9,
        ),
    ],
    ids=["critic", "deep", "anchors", "bootstrap", "linear", "mlp"],
)
def test_the_layers_below_learn_what_the_head_alone_cannot(
    settings: dict[str, object], rule: Rule, most: float
) -> None:
    rates = {"lr": 0.01, "synthesizer_lr": 0.01}
    config = RunConfig.from_dict({"epochs": 1, "window": 1, **rates, **settings})
    alone = loss_after_training(config, NoBackpropRule())
    assert loss_after_training(config, rule) < most * alone


def test_backpropagation_on_numbers_is_torchs() -> None:
    """Bit for bit: the same products, the same fused kernels."""
    line = make_line(RunConfig(epochs=5, window=1, lr=0.01), BackpropRule(), Numbers(1))
    line.run()
    plain = network()
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.01, fused=True)
    losses = []
    for number in range(5):
        x, targets = batch(number)
        value = nn.functional.mse_loss(plain(x), targets)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(value.item())
    assert line.losses == losses
    own = line.state_dict()
    assert all(torch.equal(own[name], p) for name, p in plain.state_dict().items())
