"""Lockstep equals the loop that a user writes for torch, on networks of every kind.

With dropout, BatchNorm, attention, recurrence and skips; the loop is torch's alone but for the
order of the batches and the seeds of what layers draw, as docs/models-and-data.md has it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dni_async.config.run_config import RunConfig
from dni_async.data.inputs import Inputs
from dni_async.network.building import build_network, layer_starts
from dni_async.seeding import draw_seed
from dni_async.wire.messages import Evaluated
from tests.plain_networks import LENGTH, NUM_CLASSES, NUM_IDS
from tests.workers.lines import trained

pytestmark = pytest.mark.usefixtures("as_in_a_worker")
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def write_images(path: Path) -> None:
    """Blurred noise, brighter where its class says."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, NUM_CLASSES, 110)
    x = rng.normal(size=(110, 1, 8, 8)).astype(np.float32)
    x[np.arange(110), 0, 2 * y] += 2
    np.savez(path, x_train=x[:80], y_train=y[:80], x_test=x[80:], y_test=y[80:])


def write_sequences(path: Path, *, tags: bool) -> None:
    """Ids of which a class follows: one for each, or for all of them; the end is padding."""
    rng = np.random.default_rng(0)
    x = rng.integers(1, NUM_IDS, (110, LENGTH))
    x[np.arange(LENGTH) >= rng.integers(3, LENGTH + 1, (110, 1))] = 0
    y = np.where(x == 0, -100, x % NUM_CLASSES) if tags else x.sum(1) % NUM_CLASSES
    np.savez(path, x_train=x[:80], y_train=y[:80], x_test=x[80:], y_test=y[80:])


def seed_draws(network: nn.Sequential, seed: int) -> Callable[[int], None]:
    """Have each layer draw what it draws in a run; call what is returned before each batch."""
    batch_id = 0

    def begin(number: int) -> None:
        nonlocal batch_id
        batch_id = number

    def seeded(layer: int) -> Callable[..., None]:
        return lambda *_: torch.manual_seed(draw_seed(seed, layer, batch_id)) and None

    for layer, child in enumerate(layer_starts(network)):
        network[child].register_forward_pre_hook(seeded(layer))
    return begin


ORDERS = {"auto": torch.contiguous_format, "channels-last": torch.channels_last}


def in_order(x: torch.Tensor, order: torch.memory_format) -> torch.Tensor:
    """Images as a user would hand them to such a network; all else as it is."""
    return x.contiguous(memory_format=order) if x.ndim == 4 else x


def plainly_trained(
    config: RunConfig, optimizer: Callable[[Any], torch.optim.Optimizer], loss: Loss
) -> tuple[nn.Sequential, list[float]]:
    """The network and its loss on the test samples after each epoch, by torch alone."""
    inputs = Inputs.from_config(config)
    facts = inputs.facts
    network = build_network(config, facts.input_shape, facts.form.output_shape)
    order = ORDERS[config.memory_format]
    network.to(memory_format=order)  # type: ignore[call-overload]
    begin = seed_draws(network, config.seed)
    updates, losses = optimizer(network.parameters()), []
    for epoch in range(1, config.epochs + 1):
        network.train()
        for index in range(inputs.num_train_batches):
            x, y = inputs.train_batch(epoch, index)
            begin((epoch - 1) * sum(inputs.num_batches) + index)
            updates.zero_grad()
            loss(network(in_order(x, order)), y).backward()  # type: ignore[no-untyped-call]
            updates.step()
        network.eval()
        with torch.no_grad():
            batches = [inputs.test_batch(index) for index in range(inputs.num_test_batches)]
            # Padding does not count; of numbers each sample does.
            counts = [len(y) if y.is_floating_point() else int((y >= 0).sum()) for _, y in batches]
            means = [loss(network(in_order(x, order)), y).item() for x, y in batches]
        losses.append(float(np.average(means, weights=counts)))
    return network, losses


def by_position(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over all positions [B, T]."""
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


CASES: dict[str, tuple[str, Callable[[Any], torch.optim.Optimizer]]] = {
    "cnn": (
        "tests.own_optimizers:nesterov",
        lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True),
    ),
    "tagger": ("torch.optim:NAdam", lambda p: torch.optim.NAdam(p, lr=0.003)),
    "transformer": ("adamw", lambda p: torch.optim.AdamW(p, 0.003, weight_decay=0, fused=True)),
    "residual_mlp": ("torch.optim:RMSprop", lambda p: torch.optim.RMSprop(p, lr=0.003)),
    "vit": ("adam", lambda p: torch.optim.Adam(p, lr=0.003, fused=True)),
}


@pytest.mark.parametrize(
    ("model", "memory_format"),
    [*((model, "auto") for model in CASES), ("cnn", "channels-last"), ("vit", "channels-last")],
)
def test_lockstep_equals_torch_bit_for_bit(model: str, memory_format: str, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    if model in ("tagger", "transformer"):
        write_sequences(data, tags=model == "tagger")
    else:
        write_images(data)
    name, optimizer = CASES[model]
    settings = {
        "model": f"tests.plain_networks:{model}", "data": str(data), "optimizer": name,
        "lr": None if model == "cnn" else 3e-3, "batch_size": 16, "epochs": 3, "seed": 5,
        "rule": "backprop", "memory_format": memory_format,
    }  # fmt: skip
    loss: Loss = by_position if model == "tagger" else functional.cross_entropy
    expected, losses = plainly_trained(RunConfig(**settings), optimizer, loss)  # type: ignore[arg-type]
    for stages in (None, 2):
        line = trained(**settings, stages=stages, layers=8)
        weights = line.state_dict()
        assert weights.keys() == expected.state_dict().keys()
        for key, weight in expected.state_dict().items():
            assert torch.equal(weights[key], weight), key
        told = [message.loss for _, message in line.told if isinstance(message, Evaluated)]
        assert told == pytest.approx(losses, rel=1e-6)
    assert len(line.equipments) == 2
