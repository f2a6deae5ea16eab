"""Multiply-adds of a rule for each sample: forward, backward, and the synthesizers'.

Counted where they are made, in the products and convolutions of a short run in order.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import (
    flop_registry,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from dni_async.config.run_config import RunConfig
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
ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the floating-point operations of products, convolutions and attention.

    By torch's own registry. Its FlopCounterMode hooks modules as well, which goes with no engine
    that is called as stages call it, and knows no attention on CPUs.
    """

    flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do it, and count it."""
        outputs = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in flop_registry:
            self.flops += flop_registry[packet](*args, **(kwargs or {}), out_val=outputs)
        elif packet is ATTENTION:
            shapes = [each.shape for each in args[:3]]
            self.flops += sdpa_flop_count(*shapes)  # type: ignore[no-untyped-call]
        elif packet is ATTENTION_BACKWARD:
            shapes = [each.shape for each in args[:4]]
            self.flops += sdpa_backward_flop_count(*shapes)  # type: ignore[no-untyped-call]
        return outputs


def counted(config: RunConfig, ranges: Sequence[tuple[int, int]] | None) -> dict[str, float]:
    """Multiply-adds for each training sample, by part of the work.

    forward and backward: of the stages. anchors: gradients that are carried down through stages
    that have updated already. synthesizers: to predict, and to learn.

    A period of anchors is counted, or four batches where there are none. Raises what a run raises.
    """
    num_batches = config.rule_traits.anchor_every or 4
    short = dataclasses.replace(
        config,
        epochs=1,
        updates_per_epoch=num_batches,
        batch_size=SAMPLES_PER_BATCH,
        window=1,
        accumulate=1,
    )
    found: Counter[str] = Counter(dict.fromkeys(PARTS.values(), 0))
    counter = Operations()  # type: ignore[no-untyped-call]

    def adapt(_stage: int, equipment: Equipment) -> Equipment:
        for owner in (equipment.stage, equipment.boundary):
            for name, part in PARTS.items():
                if hasattr(owner, name):
                    setattr(owner, name, _counting(getattr(owner, name), part, found, counter))
        return equipment

    line = build_line(short, ranges=ranges, adapt=adapt)
    with counter:
        line.run()
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
