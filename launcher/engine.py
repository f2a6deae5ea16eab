"""A whole run for a caller in Python: the trained network and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
from rich.console import Console
from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.files.beside import read_values
from dni_async.launcher.interruption import interruptible_call
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.run import run
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.network.building import build_network
from dni_async.stage.own_state import OwnState, load_trained

__all__ = ["carry_out", "interruptible_call"]


def carry_out(
    config: RunConfig, *, run_dir: Path, overwrite: bool, progress: bool
) -> tuple[nn.Sequential, dict[str, Any]]:
    """Do what config asks; the decoupled network, on the CPU and in evaluation mode, and the
    report. Raises as run does; at a signal, within interruptible_call, Interrupted.
    """
    # A quiet console that is a terminal would still take the caller's output over.
    console = Console() if progress else Console(quiet=True, force_terminal=False)
    folder = RunFolder(run_dir)
    plan, report = run(config, folder, console, overwrite=overwrite)
    return _trained(plan, folder).eval(), report


def _trained(plan: Plan, folder: RunFolder) -> nn.Sequential:
    """The network with all that training changed."""
    network = build_network(plan.config, plan.input_shape, plan.num_classes)
    state = OwnState()
    if folder.model_state.exists():
        values = read_values(folder.model_state)
        state = OwnState(values, safetensors.torch.load_file(folder.model_state))
    load_trained(network, safetensors.torch.load_file(folder.model), state)
    return network
