"""What must hold in a simulated run, at every step and at its end."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dni_async.files.checkpoint import find_newest
from dni_async.files.shards import read_shard
from tests.simulation.world import Violation

if TYPE_CHECKING:
    from tests.simulation.run import SimulatedRun

__all__ = ["at_the_end", "of_checkpoints", "of_ending", "standing"]


def standing(loop: Any) -> str:
    """Where a stage stands."""
    machine = loop._machine
    marks = machine._marks
    return (
        f"next batch {machine.next_batch_id}, in flight {sorted(machine._in_flight)}, "
        f"held {sorted(machine._held)}, queued {list(machine._queue)}, raised {marks.raised}, "
        f"finished: {machine.finished}"
    )


def of_checkpoints(run: SimulatedRun, root: Path) -> None:
    """The newest checkpoint loads, and all its parts stand at one cut, with nothing behind it."""
    there = (run.disk.changes, _whole_in(root))
    if there == run.checked:
        return
    run.checked = there
    newest = find_newest(root, run.identity, lambda why: None)
    if newest is None:
        if run.has_sealed:
            raise Violation("the newest checkpoint does not load", f"nothing under {root}")
        return
    run.has_sealed = True
    if newest.batch_id == run.newest_seen:
        return
    run.newest_seen = newest.batch_id
    cut = (newest.batch_id, newest.epoch, newest.index)
    read_shard(newest.path(newest.batch_id % len(newest.shards)))  # as whoever resumes does
    for stage in range(len(newest.shards)):
        found, of_layers = _cut_and_applied(newest.path(stage))
        if found != cut:
            raise Violation("parts of different cuts", f"{cut}: {found}")
        is_behind = any(any(applied[newest.batch_id :]) for applied in of_layers)
        if is_behind and not run.scenario.is_unlocked:
            raise Violation("a checkpoint holds what comes behind its cut", f"stage {stage}: {cut}")
        held = newest.shards[stage]
        if len(of_layers) != held.end_layer - held.first_layer:
            raise Violation("a part of a checkpoint has other layers", f"stage {stage}: {held}")


def _cut_and_applied(path: Path) -> tuple[tuple[int, ...], list[memoryview]]:
    """Of a shard whose sum is right: where it stands; how often batches came to each layer.

    Read by hand: to load all tensors of all parts takes ten times as long.
    """
    content = memoryview(path.read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(bytes(content[8:begin]))
    facts = json.loads(header.pop("__metadata__")["facts"])
    weights = [each["data_offsets"] for name, each in header.items() if name.startswith("weights/")]
    of_layers = [content[begin + first : begin + end].cast("h") for first, end in weights]
    return tuple(facts["cut"]), of_layers


def _whole_in(root: Path) -> list[tuple[str, int, int, int]]:
    """What of root decides which checkpoint is found: each file in a folder that has its name."""
    found = []
    with suppress(FileNotFoundError), os.scandir(root) as folders:
        for folder in folders:
            if folder.name.isdecimal():
                found.append((folder.name, folder.inode(), 0, 0))
                with os.scandir(folder.path) as files:
                    for file in files:
                        facts = file.stat()
                        found.append((file.path, facts.st_ino, facts.st_size, facts.st_mtime_ns))
    return found


def of_ending(run: SimulatedRun, ending: Any) -> None:
    """A launcher that gave up had a reason to."""
    if ending is None:
        return
    why = ending.why
    if "was not ready" in why:
        raise Violation("somebody was waited for in vain", f"{why}\n{run.state()}")
    if not run.had_worker_deaths:
        raise Violation("the run ended though nobody had died", why)


def at_the_end(run: SimulatedRun) -> None:
    """Epochs are told of, whole and in order; no batch is lost beyond what is promised."""
    scenario, launcher, outcome = run.scenario, run.launcher, run.outcome
    assert launcher is not None
    told = [epoch.epoch for epoch in launcher.result.epochs]
    if told != sorted(set(told)):
        raise Violation("epochs out of order", str(told))
    state = launcher.machine._state
    outcome.is_early = state.is_draining
    # The epoch that the source has come to: of one that died it may not be known.
    source = run.workers[0].loop
    furthest = run.furthest if source is None else source._machine.next_batch_id - 1
    last = min(furthest, run.furthest) // scenario.num_batches + 1
    due = [epoch for epoch in scenario.tested if not outcome.is_early or epoch < last]
    outcome.missing = [epoch for epoch in due if epoch not in told]
    unknown = set(told) - set(scenario.tested)
    if unknown:
        raise Violation("epochs that there are not", str(unknown))
    if outcome.missing:
        raise Violation("an epoch is missing", f"{outcome.missing}, told were {told}")
    _of_samples(run, last)
    for stage in range(scenario.num_stages):
        if not launcher.folder.stage_weights(stage).is_file():
            raise Violation("weights are missing", f"of stage {stage}")


def _of_samples(run: SimulatedRun, last: int) -> None:
    """At most two windows of batches around each death never came to the head."""
    scenario, outcome = run.scenario, run.outcome
    if scenario.settings.get("when_full") == "skip":
        return
    up_to = run.furthest + 1 if outcome.is_early else scenario.num_ids
    due = {
        batch_id
        for batch_id in range(up_to)
        if batch_id % scenario.num_batches < scenario.train_batches
    }
    outcome.lost = len(due - run.head_learnt)
    config = scenario.config
    assert run.launcher is not None
    most = 2 * config.places * (outcome.replaced + len(run.launcher.result.restarts))
    if outcome.is_early:
        most += 1 + config.places  # what the source had taken up and gave up again
    if outcome.lost > most:
        lost = sorted(due - run.head_learnt)
        raise Violation("more was lost than in flight", f"{lost}, {most} at most")
