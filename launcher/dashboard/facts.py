"""What is known of a run before it begins: its data, its stages, its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.building import shown_settings
from dni_async.launcher.report.rows import layer_range

__all__ = ["Facts", "Position", "StageFacts", "facts_of"]


@dataclass(frozen=True, slots=True)
class StageFacts:
    """One stage: its layers in words, and what it computes on."""

    stage: int
    layers: str
    device: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where a network is in its training: the epoch that goes on, from 1, and its batch, from 0.

    share: of all training batches, those that are behind, 0 to 1. testing: None while it trains;
    else how many batches of the test after the epoch have begun, 0 while the line drains before it.
    """

    epoch: int
    batch: int
    share: float
    testing: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """One run. num_batches: of an epoch's training and of a test.

    samples_per_update: of one update of a stage. load: processes that wanted a core before it.
    """

    data: str
    rule: str
    epochs: int
    num_batches: tuple[int, int]
    samples_per_update: int
    cores: int
    load: float
    stages: tuple[StageFacts, ...]
    settings: Mapping[str, Any]

    def at_batch(self, num_batches: int) -> Position:
        """With so many training batches behind it, no test among them."""
        train = self.num_batches[0]
        epoch = min(num_batches // train, self.epochs - 1)
        share = min(1.0, num_batches / (train * self.epochs))
        return Position(epoch + 1, min(num_batches - epoch * train, train), share)

    def at_id(self, next_batch_id: int) -> Position:
        """With that batch before the source; ids count the batches of a test after every epoch."""
        train, test = self.num_batches
        epoch = min(next_batch_id // (train + test), self.epochs - 1)
        place = next_batch_id - epoch * (train + test)
        if place < train:
            return self.at_batch(epoch * train + place)
        share = (epoch + 1) / self.epochs
        testing = min(place - train, test) if self.is_tested(epoch + 1) else None
        return Position(epoch + 1, train, share, testing)

    def is_tested(self, epoch: int) -> bool:
        """Whether a test follows the epoch."""
        is_due = epoch % int(self.settings.get("evaluate_every", 1)) == 0
        return bool(self.num_batches[1]) and (is_due or epoch == self.epochs)


def facts_of(plan: Plan) -> Facts:
    """Those of a plan that is about to be carried out."""
    config = plan.config
    stages = enumerate(zip(plan.layer_ranges, plan.devices, strict=True))
    return Facts(
        data=plan.dataset_name,
        rule=config.rule,
        epochs=config.epochs,
        num_batches=(plan.num_train_batches, plan.num_test_batches),
        samples_per_update=config.batch_size * config.accumulate,
        cores=plan.cores,
        load=plan.load,
        stages=tuple(StageFacts(k, layer_range(*span), device) for k, (span, device) in stages),
        settings=shown_settings(config),
    )
