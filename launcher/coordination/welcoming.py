"""What a stage's worker is told of its part of the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dni_async.launcher.decisions.actions import SendWelcome
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.wire.messages import Welcome

__all__ = ["make_welcome"]


def make_welcome(
    plan: Plan, folder: RunFolder, run_id: str, decided: SendWelcome, shard: str
) -> Welcome:
    """A stage's part of the run. shard: the file that it starts from, empty for the seed."""
    stage = decided.stage
    first, end = decided.layers
    return Welcome(
        run_id=run_id,
        num_stages=plan.num_stages,
        first_layer=first,
        end_layer=end,
        device=decided.device,
        num_threads=decided.num_threads,
        peer=decided.above,
        peer_key=decided.above_key,
        weights_path=str(folder.stage_weights(stage).resolve()),
        input_shape=plan.input_shape,
        holds_ids=plan.holds_ids,
        num_classes=plan.form.num_classes,
        target_shape=(1, *plan.form.shape),
        target_dtype=plan.form.dtype,
        has_ignored=plan.form.ignored is not None,
        output_shape=(1, *plan.output_shape),
        num_updates=plan.num_updates,
        num_test_batches=plan.num_test_batches,
        config=replace(plan.config, moves=()).to_dict(),  # there may be many: no stage's affair
        profile_folder=_if_made(folder.profile),
        events_folder=_if_made(folder.events),
        checkpoint_folder=str(folder.checkpoints.resolve()),
        next_batch_id=decided.next_batch_id,
        shard=shard,
    )


def _if_made(folder: Path) -> str:
    """Where something was asked to be left, else empty."""
    return str(folder.resolve()) if folder.is_dir() else ""
