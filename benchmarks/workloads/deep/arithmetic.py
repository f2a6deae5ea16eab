"""Multiply-adds of a rule for each sample: forward, backward, and the synthesizers'.

Counted where they are made, in the products and convolutions of a short run in order.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from benchmarks.workloads.deep.delays import DelayedLine
from dni_async.config.run_config import RunConfig
from dni_async.network.operations import Operations
from dni_async.workers.in_memory import Equipment, build_line

__all__ = ["counted"]

PARTS = {
    "forward": "forward",
    "pull_back": "backward",
    "carry_back": "anchors",
    "predict": "synthesizers",
    "learn": "synthesizers",
}
SAMPLES_PER_BATCH = 8
UNCOUNTED = 2  # batches at the beginning


def counted(config: RunConfig, ranges: Sequence[tuple[int, int]] | None) -> dict[str, float]:
    """Multiply-adds for each training sample, by part of the work.

    forward and backward: of the stages. anchors: gradients that are carried down through stages
    that have updated already. synthesizers: to predict, and to learn.

    A period of anchors is counted, or four batches where there are none; not the first two, in
    which synthesizers are made and the first anchor comes back. Raises what a run raises.
    """
    num_batches = config.rule_traits.anchor_every or 4
    short = dataclasses.replace(
        config,
        epochs=1,
        updates_per_epoch=num_batches + UNCOUNTED,
        batch_size=SAMPLES_PER_BATCH,
        window=1,
        accumulate=1,
    )
    found: Counter[str] = Counter(dict.fromkeys(PARTS.values(), 0))
    counter = Operations()  # type: ignore[no-untyped-call]

    turns = DelayedLine("0")
    left = iter(range(UNCOUNTED - 1, -1, -1))

    def after_batch() -> None:
        if next(left, None) == 0:
            found.update({part: -flops for part, flops in found.items()})

    def adapt(stage: int, equipment: Equipment) -> Equipment:
        for owner in (equipment.stage, equipment.boundary):
            for name, part in PARTS.items():
                if hasattr(owner, name):
                    setattr(owner, name, _counting(getattr(owner, name), part, found, counter))
        return turns.adapt(stage, equipment)

    turns.after_batch = after_batch
    line = build_line(short, ranges=ranges, adapt=adapt)
    with counter:
        for _ in turns.turns(line):
            pass
    num_samples = num_batches * SAMPLES_PER_BATCH
    return {part: flops / 2 / num_samples for part, flops in found.items()}


def _counting(
    method: Callable[..., Any], part: str, found: Counter[str], counter: Operations
) -> Callable[..., Any]:
    """The method, which adds to found what it costs."""

    @wraps(method)
    def counting(*args: Any, **kwargs: Any) -> Any:
        before = counter.flops
        try:
            return method(*args, **kwargs)
        finally:
            found[part] += counter.flops - before

    return counting
