"""torch.compile, as workers and baseline both use it."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dni_async.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from dni_async.stage.graphs.passes import Layers
    from dni_async.stage.stage import Stage
    from dni_async.stage.values import Hidden

__all__ = ["COMPILE_S", "check_compiler", "compile_layers", "out_of_pool", "warm_up"]

COMPILE_S: Final = 300.0  # how long workers that compile may take longer to be ready
GPU_ROUNDS: Final = 3


def check_compiler(devices: Collection[str]) -> None:
    """Raises ConfigError where torch.compile lacks what it builds kernels with for devices.

    For the CPU it is a C++ compiler, for a GPU a C compiler (Triton builds its launchers with it),
    for both the headers of Python.
    """
    if "cpu" in devices:
        _check_found("CXX", ["clang++" if sys.platform == "darwin" else "g++"], "C++ compiler")
    if any(device.startswith("cuda") for device in devices):
        _check_found("CC", ["gcc", "clang"], "C compiler")
    folders = {sysconfig.get_path(name) for name in ("include", "platinclude")}
    if sys.platform == "linux" and not any(Path(f, "Python.h").exists() for f in folders):
        raise ConfigError(
            f"compile: needs Python.h, but {' and '.join(sorted(folders))} has none "
            "(Debian: python3-dev)"
        )


def _check_found(variable: str, defaults: Sequence[str], what: str) -> None:
    """The program that variable names, else one of defaults, must be there."""
    names = [os.environ[variable]] if os.environ.get(variable) else defaults
    if not any(shutil.which(name) for name in names):
        missing = " nor ".join(map(repr, names))
        raise ConfigError(f"compile: needs a {what}, but {missing} is not there (set {variable})")


def compile_layers(layers: nn.Sequential, device: torch.device) -> Layers:
    """layers, forwards and backwards, as fused kernels; on a GPU replayed as CUDA graphs.

    Compiled at the first batch, which takes seconds: see warm_up.
    """
    import torch

    # One process: a pool of compilers would outlive a worker that is killed.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    if device.type != "cuda":
        compiled: Layers = torch.compile(layers, dynamic=False)
        return compiled
    graphed = out_of_pool(torch.compile(layers, dynamic=False, mode="reduce-overhead"))

    def run(inputs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return graphed(inputs)

    return run


def out_of_pool(graphed: Layers) -> Layers:
    """graphed, with an output and a gradient of the inputs that nothing writes again.

    Those of a CUDA graph lie in its own memory, which its next run overwrites, while a stage may
    hold several batches.
    """
    import torch
    from torch.utils._pytree import tree_leaves, tree_map_only

    def run(inputs: Any) -> Any:
        for leaf in tree_leaves(inputs):
            if isinstance(leaf, torch.Tensor) and leaf.requires_grad:
                leaf.register_hook(_copied)  # type: ignore[no-untyped-call]
        return tree_map_only(torch.Tensor, torch.Tensor.clone, graphed(inputs))

    return run


def _copied(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.clone()


def warm_up(stage: Stage, inputs: Hidden) -> None:
    """Compile what stage will need for batches shaped as inputs, and leave it as it was.

    On a GPU graphs are captured at the second call, and replayed from the third on.
    """
    import torch

    from dni_async.stage.values import as_gradient, each, needing
    from dni_async.stage.volatile import undone

    weights = [(parameter, parameter.detach().clone()) for parameter in stage.layers.parameters()]
    device = next(stage.layers.parameters()).device
    is_gpu = device.type == "cuda"
    devices = [device] if is_gpu else []
    with torch.random.fork_rng(devices=devices), undone(stage.layers):
        for needs_input_gradient in [False, True] if stage.index > 0 else [False]:
            for _ in range(GPU_ROUNDS if is_gpu else 1):
                copies = each(inputs, lambda tensor: tensor.to(device, copy=True))
                hidden = stage.forward(0, copies, needs_input_gradient=needs_input_gradient)
                zeros = as_gradient(hidden, [torch.zeros_like(t) for t in needing(hidden)])
                stage.pull_back(0, zeros, source="gradient of the warm-up")
                stage.discard()
    for parameter, before in weights:
        parameter.detach().copy_(before)
