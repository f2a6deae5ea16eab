"""Where a run goes on: its newest whole checkpoint, and what was told of the epochs before it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from dni_async.config.run_config import RunConfig, read_toml
from dni_async.decisions.rules import AUTO
from dni_async.errors import CheckpointError, ConfigError
from dni_async.files import names
from dni_async.files.checkpoint import Manifest, find_newest, seal
from dni_async.files.reading import read_bounded
from dni_async.files.writing import write_whole
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.curves import CurvePoint, Told
from dni_async.launcher.report.results import EpochResult
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.unsealed import unsealed, untold
from dni_async.wire.foreign_text import parsed
from dni_async.wire.messages import BoundaryEpoch

__all__ = [
    "Resumption",
    "as_chosen",
    "find_resumption",
    "identity",
    "kept_choice",
    "stage_files",
]

MAX_METRICS_BYTES = 2**30
MAX_CHOICE_BYTES = 2**20
_NOT_OURS = (AttributeError, KeyError, TypeError, ValueError)  # what lines of others lead to


@dataclass(frozen=True, slots=True)
class Resumption:
    """metrics: the lines that stay; epochs, boundaries and told: what they tell of the decoupled
    run, and in told how far the others went.
    """

    manifest: Manifest
    metrics: str
    epochs: list[EpochResult]
    boundaries: list[BoundaryEpoch]
    told: Told

    def keeps_stages(self, plan: Plan) -> bool:
        """Whether the run has as many stages as before, which then hold the same layers."""
        if plan.config.stages == "auto":
            return True
        return plan.num_stages == len(self.manifest.shards)

    def line(self, run: str) -> dict[str, Any]:
        """What metrics.jsonl says of it, in front of what is told anew."""
        told = {"updates": dict(self.told.updates), "epoch": self.told.epoch}
        return {"run": run, "resumed": self.manifest.batch_id, "told": told}

    def ranges(self) -> list[tuple[int, int]]:
        """The layers of each stage as they were."""
        return [(shard.first_layer, shard.end_layer) for shard in self.manifest.shards]


def kept_choice(folder: Path) -> dict[str, Any] | None:
    """How the rule of the run in folder was chosen; None where it was asked for.

    Raises CheckpointError for a file that no run writes.
    """
    path = folder / names.RULE
    if not path.is_file():
        return None
    try:
        choice = parsed(read_bounded(path, MAX_CHOICE_BYTES).decode())
        if not isinstance(choice["settings"], dict):
            raise TypeError("settings")
    except (OSError, RecursionError, *_NOT_OURS) as error:
        raise CheckpointError(f"resume: {path}: holds what no run writes: {error!r}") from error
    return dict(choice)


def as_chosen(config: RunConfig, folder: Path) -> RunConfig:
    """Settings that leave the rule open with what the run in folder has chosen.

    Raises ConfigError where it has not, CheckpointError as kept_choice.
    """
    if config.rule != AUTO:
        return config
    choice = kept_choice(folder)
    if choice is None:
        raise ConfigError(
            f"rule: the run in {folder} was begun with one, and auto was asked for; leave it out"
        )
    return RunConfig.from_dict({**config.to_dict(), **choice["settings"]})


def identity(plan: Plan) -> dict[str, Any]:
    """What a run must have in common with one that it goes on from, as JSON values."""
    return plan.config.fixed() | {
        "num_layers": plan.num_layers,
        "num_train": plan.num_train,
        "num_test": plan.num_test,
        "input_shape": list(plan.input_shape),
        "num_classes": plan.num_classes,
        "target_shape": list(plan.form.shape),
    }


def find_resumption(plan: Plan, folder: RunFolder, note: Callable[[str], None]) -> Resumption:
    """What the run in folder goes on from; note is told of each checkpoint that is passed over.

    Raises ConfigError for a setting that may not change, CheckpointError where none is whole.
    """
    stored = RunConfig.from_dict(read_toml(folder.path / names.CONFIG))
    asked = plan.config.fixed()
    for name, value in stored.fixed().items():
        if asked[name] != value:
            raise ConfigError(
                f"{name}: a resumed run keeps what it began with, {_said(value)}, "
                f"but {_said(asked[name])} was asked for; leave it out"
            )
    path = folder.path / names.METRICS
    try:
        text = read_bounded(path, MAX_METRICS_BYTES).decode(errors="replace")
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise CheckpointError(f"resume: {path}: cannot be read: {error.strerror}") from error
    try:
        return _resumption(plan, folder, text, note)
    except _NOT_OURS as error:
        raise CheckpointError(f"resume: {path}: holds what no run writes: {error!r}") from error


def _resumption(
    plan: Plan, folder: RunFolder, text: str, note: Callable[[str], None]
) -> Resumption:
    """text: of the metrics."""
    _seal_last(plan, folder, note)
    manifest = find_newest(folder.checkpoints, identity(plan), note)
    if manifest is None:
        raise CheckpointError(
            f"resume: {folder.path} holds no whole checkpoint; a run makes them with "
            "--checkpoint-every"
        )
    return _history(plan, manifest, text)


def _said(value: object) -> str:
    return "its default" if value is None else repr(value)


def _seal_last(plan: Plan, folder: RunFolder, note: Callable[[str], None]) -> None:
    """Make the checkpoint whole that the workers of a killed launcher have left, if they have."""
    for manifest in unsealed(folder.checkpoints, identity(plan), plan.num_layers):
        try:
            seal(folder.checkpoints, manifest)
        except OSError as error:
            note(f"{manifest.folder}: cannot be made whole: {error.strerror}")
        return


def stage_files(resumption: Resumption, plan: Plan, folder: RunFolder) -> list[Path]:
    """The file that each stage starts from: as it was saved, or cut anew for other stages."""
    manifest = resumption.manifest
    saved = [manifest.path(stage).resolve() for stage in range(len(manifest.shards))]
    if plan.layer_ranges == resumption.ranges():
        return saved
    from dni_async.files.shards import cut_anew, pack, read_shard

    shards = cut_anew([read_shard(path) for path in saved], plan.layer_ranges)
    paths = [folder.weights.resolve() / names.start_shard(stage) for stage in range(len(shards))]
    for path, shard in zip(paths, shards, strict=True):
        write_whole(path, *pack(shard))
    return paths


def _history(plan: Plan, manifest: Manifest, text: str) -> Resumption:
    """The lines before the first one that the resumed run will tell anew, and what they tell.

    Of points, which stages tell each at its own pace, those up to where it goes on.
    """
    done = (manifest.epoch - 1) * plan.num_train_batches + manifest.index
    kept: list[str] = []
    epochs: list[EpochResult] = []
    boundaries: list[BoundaryEpoch] = []
    points: list[CurvePoint] = []
    is_past = False
    for line, told in _lines(plan.config.rule, text):
        is_past = is_past or told.get("epoch", 0) >= manifest.epoch
        if "point" in told:
            point = CurvePoint.from_dict(told["point"])
            if point.updates > done // plan.config.accumulate:
                continue
            points.append(point)
        elif is_past:
            continue
        elif "epoch" in told:
            names = [field.name for field in fields(EpochResult)]
            epochs.append(EpochResult(**{name: told[name] for name in names if name in told}))
        elif "boundary" in told:
            boundaries.append(BoundaryEpoch(**told["boundary"]))
        kept.append(line)
    missing = untold(plan, manifest, {epoch.epoch for epoch in epochs})
    for epoch in missing.epochs:
        kept.append(json.dumps({"run": plan.config.rule, **asdict(epoch)}) + "\n")
    for boundary in missing.boundaries:
        kept.append(json.dumps({"run": plan.config.rule, "boundary": asdict(boundary)}) + "\n")
    epochs = sorted([*epochs, *missing.epochs], key=lambda epoch: epoch.epoch)
    boundaries += missing.boundaries
    return Resumption(
        manifest, "".join(kept), epochs, boundaries, _told(plan.config.rule, text, points)
    )


def _lines(run: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of the run in front of the first whose writing was cut short."""
    for line in text.splitlines(keepends=True):
        try:
            told = parsed(line)
        except (ValueError, RecursionError):
            return
        if isinstance(told, dict) and told.get("run") == run:
            yield line, told


def _told(run: str, text: str, points: Sequence[CurvePoint]) -> Told:
    """How far those who look on have heard, in this launch and in those before it."""
    updates: dict[int, int] = {}
    epoch = 0
    for _, line in _lines(run, text):
        before = line.get("told", {})
        each = {int(curve): last for curve, last in before.get("updates", {}).items()}
        if "point" in line:
            point = CurvePoint.from_dict(line["point"])
            each = {point.curve: point.updates}
        for curve, last in each.items():
            updates[curve] = max(last, updates.get(curve, 0))
        epoch = max(epoch, line.get("epoch", 0), before.get("epoch", 0))
    return Told(tuple(points), updates, epoch)
