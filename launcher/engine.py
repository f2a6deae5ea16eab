"""A whole run for a caller in Python: the trained network and the report."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.errors import DniError
from dni_async.launcher.interruption import interruptible_call
from dni_async.launcher.monitoring.callbacks import CallbackWatcher, MakeView
from dni_async.launcher.monitoring.live.notebook import current_cell
from dni_async.launcher.report.html import result
from dni_async.launcher.report.terminal.console import open_console
from dni_async.launcher.run import run
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.loading import load_network
from dni_async.launcher.run_folder.returned import best_network, trained_network
from dni_async.system import output

__all__ = ["carry_out", "current_cell", "draw_result", "interruptible_call", "load_network"]


def carry_out(
    config: RunConfig,
    *,
    run_dir: Path,
    overwrite: bool,
    progress: bool,
    callbacks: Sequence[object] = (),
    view: MakeView,
) -> tuple[nn.Module, nn.Module | None, dict[str, Any]]:
    """Do what config asks; the decoupled network, the same when it was tested best, where that is
    kept, both on the CPU and in evaluation mode, and the report.

    view: makes what callbacks are given of a run. Raises as run does, and what a callback raises;
    at a signal, within interruptible_call, Interrupted.
    """
    output.fill_descriptors()  # or a socket gets the number of one that the caller has closed
    # A quiet console that is a terminal, or a notebook, would still take the caller's output over.
    quiet = open_console(quiet=True, force_terminal=False, force_jupyter=False)
    console = open_console() if progress else quiet
    folder = RunFolder(run_dir)
    watcher = CallbackWatcher(callbacks, view) if callbacks else None
    done = run(config, folder, console, overwrite=overwrite, watcher=watcher)
    plan, report = done.plan, done.report
    if not folder.model.is_file():  # nothing took it
        raise DniError("\n".join(done.failures))
    for sentence in done.failures:
        warnings.warn(sentence, RuntimeWarning, stacklevel=2)
    network: nn.Module = trained_network(plan, folder)
    best = best_network(plan, folder) if plan.config.keep_best else None
    return network.eval(), best, report


def draw_result(report: Mapping[str, Any], cell: int | None) -> str | None:
    """The result of a run for a notebook, HTML; None in the cell that has shown it, if one has."""
    return None if cell is not None and cell == current_cell() else result.draw_result(report)
