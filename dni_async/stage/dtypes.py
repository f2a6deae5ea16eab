"""The number formats that a run can name, as torch's."""

from __future__ import annotations

from typing import Final

import torch

from dni_async.config.run_config import RunConfig

__all__ = ["AUTOCAST_DTYPES", "WIRE_DTYPES", "activation_dtypes", "needs_samples"]

AUTOCAST_DTYPES: Final[dict[str, torch.dtype | None]] = {"fp32": None, "bf16": torch.bfloat16}
WIRE_DTYPES: Final[dict[str, torch.dtype | None]] = {
    "same": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.int8,
}


def activation_dtypes(config: RunConfig) -> set[torch.dtype]:
    """What activations and gradients may arrive as; autocast leaves some layers in float32.

    int8 stands for whatever they were, and always comes with scales.
    """
    wire = WIRE_DTYPES[config.wire_dtype]
    if wire == torch.int8:
        return {wire}
    computed = AUTOCAST_DTYPES[config.dtype]
    dtypes = {torch.float32 if wire is None else wire}
    return dtypes if computed is None else dtypes | {computed}


def needs_samples(config: RunConfig) -> bool:
    """Whether every value that needs a gradient must be one of samples.

    Synthesizers predict, and int8 has scales, for each of them.
    """
    return config.rule_traits.needs_synthesizer or config.wire_dtype == "int8"
