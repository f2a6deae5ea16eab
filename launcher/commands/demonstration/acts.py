"""The two acts of the demo: a run beside its baselines, and one that loses a worker."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from dni_async.config.run_config import RunConfig
from dni_async.launcher.commands.demonstration.curtain import Curtain
from dni_async.launcher.commands.demonstration.killing import Killing
from dni_async.launcher.commands.demonstration.sizing import second_epochs, unkillable
from dni_async.launcher.commands.demonstration.words import of_killing, seen
from dni_async.launcher.report.terminal.sentences import say
from dni_async.launcher.report.terminal.tables import print_comparison
from dni_async.launcher.run import Done, run
from dni_async.launcher.run_folder.folder import RunFolder

__all__ = ["first_act", "second_act"]

CHECKPOINT_EVERY: Final = "1s"  # so that a new worker need not begin from the seed


def first_act(
    config: RunConfig,
    run_dir: Path,
    console: Console,
    *,
    overwrite: bool,
    copy: Path | None,
    ends_at: float,
) -> Mapping[str, Any]:
    """Train beside the baselines, show how they compare, say what was seen; the report.

    ends_at: of the monotonic clock, when what is not trained yet is given up.
    """
    what = "beside plain backpropagation in one process" if config.baseline else "by itself"
    _title(console, f"First act: every layer in a process of its own, {what}")
    folder = RunFolder(run_dir)
    done = run(
        config, folder, console, overwrite=overwrite, report_copy=copy, watcher=Curtain(ends_at)
    )
    print_comparison(done.report, console)
    say(console, seen(done.report))
    _complain(done, console)
    return done.report


def second_act(
    config: RunConfig,
    run_dir: Path,
    console: Console,
    *,
    overwrite: bool,
    num_stages: int,
    train_s: float,
) -> None:
    """Train again, kill a worker on the way, and say what came of it.

    num_stages, train_s: the workers of the first act, and what it took to train.
    """
    obstacle = unkillable(config, num_stages)
    if obstacle is not None:
        say(console, f"No second act: {obstacle}, so a worker that is killed ends its run.")
        return
    epochs = second_epochs(config.epochs, train_s)
    _title(console, f"Second act: again for {epochs} epochs, and kill -9 for one of the workers")
    killing = Killing()
    again = dataclasses.replace(
        config,
        epochs=epochs,
        baseline=False,
        checkpoint_every=config.checkpoint_every or CHECKPOINT_EVERY,
    )
    done = run(again, RunFolder(run_dir), console, overwrite=overwrite, watcher=killing)
    say(console, of_killing(killing.killed, killing.restart, done.report["runs"][0]))
    _complain(done, console)


def _complain(done: Done, console: Console) -> None:
    """Say what could not be left where it belongs."""
    for sentence in done.failures:
        say(console, sentence)


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(text, style="bold", soft_wrap=True)
