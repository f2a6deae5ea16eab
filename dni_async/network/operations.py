"""How much arithmetic a computation takes, counted where it is done."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import (
    flop_registry,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

__all__ = ["Operations"]

_ATTENTION: Final = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_ATTENTION_BACKWARD: Final = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the floating-point operations of products, convolutions and attention within it.

    By torch's own registry. Its FlopCounterMode hooks modules as well, which goes with no engine
    that is called as stages call it, knows no attention on CPUs, and imports torch's compiler: over
    a second in every worker.
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
        elif packet is _ATTENTION:
            shapes = [each.shape for each in args[:3]]
            self.flops += sdpa_flop_count(*shapes)  # type: ignore[no-untyped-call]
        elif packet is _ATTENTION_BACKWARD:
            shapes = [each.shape for each in args[:4]]
            self.flops += sdpa_backward_flop_count(*shapes)  # type: ignore[no-untyped-call]
        return outputs

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: nothing here is compiled, and it is what imports the compiler."""
        return False
