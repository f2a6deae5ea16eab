"""What is known of a run before it begins: its data, its stages, its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.rows import layer_range

__all__ = ["Facts", "StageFacts", "facts_of"]


@dataclass(frozen=True, slots=True)
class StageFacts:
    """One stage: its layers in words, and what it computes on."""

    stage: int
    layers: str
    device: str


@dataclass(frozen=True, slots=True)
class Facts:
    """One run. epoch_ids: batch ids that an epoch takes, those of its test included; 0: not known.

    samples_per_update: of one update of a stage. load: processes that wanted a core before it.
    """

    data: str
    rule: str
    epochs: int
    epoch_ids: int
    samples_per_update: int
    cores: int
    load: float
    stages: tuple[StageFacts, ...]
    settings: Mapping[str, Any]


def facts_of(plan: Plan) -> Facts:
    """Those of a plan that is about to be carried out."""
    config = plan.config
    stages = enumerate(zip(plan.layer_ranges, plan.devices, strict=True))
    return Facts(
        data=plan.dataset_name,
        rule=config.rule,
        epochs=config.epochs,
        epoch_ids=plan.num_train_batches + plan.num_test_batches,
        samples_per_update=config.batch_size * config.accumulate,
        cores=plan.cores,
        load=plan.load,
        stages=tuple(StageFacts(k, layer_range(*span), device) for k, (span, device) in stages),
        settings=config.to_dict(),
    )
