"""torch.compile, as workers and baseline both use it."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Final

from dni_async.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from dni_async.stage.stage import Layers, Stage

__all__ = ["COMPILE_S", "check_compiler", "compile_layers", "warm_up"]

COMPILE_S: Final = 300.0  # how long workers that compile may take longer to be ready


def check_compiler() -> None:
    """Raises ConfigError where torch.compile would find no C++ compiler for the CPU."""
    default = "clang++" if sys.platform == "darwin" else "g++"
    name = os.environ.get("CXX", default)
    if shutil.which(name) is None:
        raise ConfigError(f"compile: needs a C++ compiler, but {name!r} is not there (set CXX)")


def compile_layers(layers: nn.Sequential, device: torch.device) -> Layers:
    """layers, forwards and backwards, as fused kernels; on a GPU replayed as CUDA graphs.

    Compiled at the first batch, which takes seconds: see warm_up. On a GPU each call's output lies
    in memory that the next call writes again, so this gives a copy.
    """
    import torch

    # One process: a pool of compilers would outlive a worker that is killed.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    if device.type != "cuda":
        compiled: Layers = torch.compile(layers, dynamic=False)
        return compiled
    graphed = torch.compile(layers, dynamic=False, mode="reduce-overhead")

    def run(inputs: torch.Tensor) -> torch.Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        outputs: torch.Tensor = graphed(inputs).clone()
        return outputs

    return run


def warm_up(stage: Stage, inputs: torch.Tensor, *, has_below: bool) -> None:
    """Compile what stage will need for batches shaped as inputs, and leave it as it was.

    has_below: whether gradients of the inputs will be asked for as well.
    """
    import torch

    weights = {name: tensor.clone() for name, tensor in stage.layers.state_dict().items()}
    random_state = torch.get_rng_state()
    for needs_input_gradient in {False, has_below}:
        hidden = stage.forward(0, inputs.clone(), needs_input_gradient=needs_input_gradient)
        stage.pull_back(0, torch.zeros_like(hidden), source="gradient of the warm-up")
        for parameter in stage.layers.parameters():
            parameter.grad = None
    stage.layers.load_state_dict(weights)
    torch.set_rng_state(random_state)
