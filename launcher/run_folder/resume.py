"""Where a run goes on: its newest whole checkpoint, and what was told of the epochs before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dni_async.config.run_config import RunConfig, read_toml
from dni_async.errors import CheckpointError, ConfigError
from dni_async.files import names
from dni_async.files.checkpoint import Manifest, find_newest, seal
from dni_async.files.writing import write_whole
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.results import EpochResult
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.unsealed import unsealed
from dni_async.wire.messages import BoundaryEpoch

__all__ = ["Resumption", "find_resumption", "identity", "stage_files"]


@dataclass(frozen=True, slots=True)
class Resumption:
    """metrics: the lines that stay; epochs and boundaries: what they tell of the decoupled run."""

    manifest: Manifest
    metrics: str
    epochs: list[EpochResult]
    boundaries: list[BoundaryEpoch]

    def keeps_stages(self, plan: Plan) -> bool:
        """Whether the run has as many stages as before, which then hold the same layers."""
        if plan.config.stages == "auto":
            return True
        return plan.num_stages == len(self.manifest.shards)

    def ranges(self) -> list[tuple[int, int]]:
        """The layers of each stage as they were."""
        return [(shard.first_layer, shard.end_layer) for shard in self.manifest.shards]


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
                f"{name}: a resumed run keeps what it began with, {value!r}, "
                f"but {asked[name]!r} was asked for"
            )
    path = folder.path / names.METRICS
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    _seal_last(plan, folder, text, note)
    manifest = find_newest(folder.checkpoints, identity(plan), note)
    if manifest is None:
        raise CheckpointError(
            f"resume: {folder.path} holds no whole checkpoint; a run makes them with "
            "--checkpoint-every"
        )
    return _history(manifest, text, stored.rule)


def _seal_last(plan: Plan, folder: RunFolder, metrics: str, note: Callable[[str], None]) -> None:
    """Make the checkpoint whole that the workers of a killed launcher have left, if they have.

    It can be used if the launcher still wrote down what the epochs before it came to.
    """
    for manifest in unsealed(folder.checkpoints, identity(plan), plan.num_layers):
        history = _history(manifest, metrics, plan.config.rule).epochs
        if len(history) < (manifest.epoch - 1) // plan.config.evaluate_every:
            note(f"{manifest.folder}: was made after the launcher's end, in a later epoch")
            continue
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


def _history(manifest: Manifest, text: str, run: str) -> Resumption:
    """The lines before the first one that the resumed run will tell anew, and what they tell."""
    kept: list[str] = []
    epochs: list[EpochResult] = []
    boundaries: list[BoundaryEpoch] = []
    for line in text.splitlines(keepends=True):
        try:
            told = json.loads(line)
        except ValueError:
            break  # its writing was cut short
        if told.get("run") != run or told.get("epoch", 0) >= manifest.epoch:
            break
        kept.append(line)
        if "epoch" in told:
            names = [field.name for field in fields(EpochResult)]
            epochs.append(EpochResult(**{name: told[name] for name in names}))
        elif "boundary" in told:
            boundaries.append(BoundaryEpoch(**told["boundary"]))
    return Resumption(manifest, "".join(kept), epochs, boundaries)
