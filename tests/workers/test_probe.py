"""A trial of a run: it learns what the run would learn, and tells it of what it holds back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn import functional

from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.data.held_out import HeldOut
from dni_async.data.inputs import Inputs
from dni_async.errors import LinkError
from dni_async.network.building import build_network
from dni_async.workers.probe import Probe

PARTS, PART, LR = 3, 5, 0.05


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """A probe has its process for itself."""
    num_threads = torch.get_num_threads()
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(num_threads)


def config_of(rule: str) -> RunConfig:
    return RunConfig(rule=rule, epochs=PARTS, width=32, layers=3, lr=LR, optimizer="sgd", seed=3)


def probe_of(config: RunConfig) -> Probe:
    job: dict[str, Any] = {
        "config": config.to_dict(),
        "ranges": [(0, 1), (1, 2), (2, 3)],
        "input_shape": (64,),
        "output_shape": (10,),
        "holds_ids": False,
        "form": dataclasses.asdict(TargetForm(10)),
        "num_updates": 100,
        "epoch_batches": PART,
        "num_threads": 1,
    }
    return Probe(job, Inputs.from_config(config))


def test_in_lockstep_it_is_a_plain_loop_over_what_is_not_held_back() -> None:
    config = config_of("backprop")
    probe = probe_of(config)
    told = [probe.go_on()["loss"] for _ in range(PARTS)]
    feed = HeldOut(Inputs.from_config(config), batch_size=config.batch_size, epoch_batches=PART)
    network = build_network(config, (64,), (10,))
    optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=0.9)
    expected = []
    for epoch in range(1, PARTS + 1):
        for index in range(PART):
            x, y = feed.train_batch(epoch, index)
            optimizer.zero_grad()
            functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        tested = [feed.test_batch(index) for index in range(feed.num_batches[1])]
        with torch.no_grad():
            losses = [functional.cross_entropy(network(x), y).item() for x, y in tested]
        expected.append(sum(losses) / len(losses))
    assert told == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("rule", ["dni", "dgl", "fdg"])
def test_a_trial_is_the_same_each_time_and_learns(rule: str) -> None:
    first, second = (probe_of(config_of(rule)) for _ in range(2))
    losses = [first.go_on()["loss"] for _ in range(PARTS)]
    assert losses == [second.go_on()["loss"] for _ in range(PARTS)]
    assert losses[-1] < losses[0]


def test_it_ends_when_all_parts_are_trained() -> None:
    probe = probe_of(config_of("dgl"))
    for _ in range(PARTS):
        probe.go_on()
    with pytest.raises(LinkError, match="the trial is over"):
        probe.go_on()
