"""The baseline: its lean passes train what a plain loop of torch trains, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn import functional

from dni_async import NonFiniteError
from dni_async.config.run_config import RunConfig
from dni_async.data.inputs import Inputs
from dni_async.launcher.jobs import baseline
from dni_async.launcher.report.results import EpochResult
from dni_async.network.building import build_network
from dni_async.stage.threads import prepare_torch
from dni_async.wire.points import Point

LR = 0.01


@pytest.fixture(autouse=True)
def as_in_its_process() -> Iterator[None]:
    """One thread, no denormals; put back afterwards."""
    num_threads = torch.get_num_threads()
    prepare_torch(1)
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(num_threads)


def plain_loop(config: RunConfig) -> tuple[torch.nn.Sequential, list[float]]:
    """What anybody would write: the network and each epoch's mean loss."""
    inputs = Inputs.from_config(config)
    network = build_network(config, (64,), 10)
    if config.optimizer == "adam":
        optimizer: Any = torch.optim.Adam(network.parameters(), lr=LR, fused=True)
    else:
        optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=0.9, fused=True)
    losses = []
    for epoch in range(1, config.epochs + 1):
        total = 0.0
        for index in range(inputs.num_train_batches):
            x, y = inputs.train_batch(epoch, index)
            loss = functional.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item() * len(y)
        losses.append(total / inputs.num_train)
    return network, losses


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_it_equals_a_plain_loop_bit_for_bit(norm: str, optimizer: str) -> None:
    settings: dict[str, Any] = {"norm": norm, "optimizer": optimizer}
    config = RunConfig(epochs=2, batch_size=100, width=128, lr=LR, **settings)
    losses = []
    network = baseline.train(
        config,
        torch.device("cpu"),
        lambda: None,
        lambda epoch: losses.append(epoch.train_loss),
    )
    expected, expected_losses = plain_loop(config)
    assert losses == expected_losses
    weights = expected.state_dict()
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, weights[name]), name


def test_it_goes_no_further_than_a_run_that_was_stopped() -> None:
    """With the rate of one that would go on: the epochs are those of the same run."""
    config = RunConfig(epochs=6, batch_size=100, width=16, lr_schedule="linear", evaluate_every=2)
    told: list[EpochResult] = []
    baseline.train(config, torch.device("cpu"), lambda: None, told.append)
    short: list[EpochResult] = []
    baseline.train(config, torch.device("cpu"), lambda: None, short.append, last_epoch=4)
    assert [(e.epoch, e.train_loss) for e in short] == [(e.epoch, e.train_loss) for e in told[:2]]


def test_its_rate_and_clipping_are_those_of_a_plain_loop() -> None:
    config = RunConfig(
        epochs=2, batch_size=100, width=64, lr_schedule="linear", warmup_updates=3, clip_norm=0.1
    )
    network = baseline.train(config, torch.device("cpu"), lambda: None, lambda *_: None)
    inputs = Inputs.from_config(config)
    plain = build_network(config, (64,), 10)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3, fused=True)
    total = config.epochs * inputs.num_train_batches
    for update in range(total):
        epoch, index = divmod(update, inputs.num_train_batches)
        x, y = inputs.train_batch(epoch + 1, index)
        optimizer.zero_grad()
        functional.cross_entropy(plain(x), y).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
        after = (update - 3) / (total - 3)
        optimizer.param_groups[0]["lr"] = 1e-3 * ((update + 1) / 3 if update < 3 else 1 - after)
        optimizer.step()
    for mine, its in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_not_finite_ends_it() -> None:
    config = RunConfig(epochs=5, optimizer="sgd", lr=1e6, width=64)
    with pytest.raises(NonFiniteError, match="loss"):
        baseline.train(config, torch.device("cpu"), lambda: None, lambda *_: None)


def test_it_is_tested_no_more_often_than_asked_for() -> None:
    told = []
    for every in (1, 2):
        epochs: list[EpochResult] = []
        config = RunConfig(epochs=3, evaluate_every=every)
        network = baseline.train(config, torch.device("cpu"), lambda: None, epochs.append)
        told.append((network.state_dict(), epochs))
    (often, each), (seldom, few) = told
    assert [epoch.epoch for epoch in few] == [2, 3]
    assert [epoch.num_samples for epoch in few] == [2 * each[0].num_samples, each[0].num_samples]
    assert few[0].train_loss == pytest.approx((each[0].train_loss + each[1].train_loss) / 2)
    assert [epoch.test_metrics["accuracy"] for epoch in few] == [
        epoch.test_metrics["accuracy"] for epoch in each[1:]
    ]
    assert all(torch.equal(seldom[name], weight) for name, weight in often.items())


def test_its_curve_has_points_at_the_updates_asked_for_and_none_is_lost() -> None:
    points: list[Point] = []
    losses: list[float | None] = []
    config = RunConfig(epochs=3, log_every=1)
    baseline.train(
        config,
        torch.device("cpu"),
        lambda: None,
        lambda epoch: losses.append(epoch.train_loss),
        tell=lambda _, fresh: points.extend(fresh),
    )
    num_batches = Inputs.from_config(config).num_train_batches
    assert [point.updates for point in points] == list(range(1, 3 * num_batches + 1))
    for epoch, mean in enumerate(losses):
        part = points[epoch * num_batches : (epoch + 1) * num_batches]
        total = sum(point.loss * point.num_samples for point in part)
        assert total / sum(point.num_samples for point in part) == pytest.approx(mean)
    assert all(point.rate == 1e-3 and point.span_s > 0 for point in points)
