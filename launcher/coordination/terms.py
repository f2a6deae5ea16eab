"""What of a plan the run's machine decides by."""

from __future__ import annotations

from dataclasses import asdict

from dni_async.launcher.decisions.terms import RunTerms
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.results import RunResult
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.stage.compilation import COMPILE_S

__all__ = ["terms_of"]

PROFILE_BYTES = 4 * 2**30  # which no plan foretells
SHARD_SHARE = 64  # times the weights


def terms_of(
    plan: Plan, folder: RunFolder, run_id: str, result: RunResult, *, is_resumed: bool
) -> RunTerms:
    """result: holds what a resumed run has behind it."""
    config, rule = plan.config, plan.rule
    outlook = result.outlook()
    why = "which is exact" if rule.is_exact else "which may lose no batch"
    return RunTerms(
        run_id=run_id,
        rule=config.rule,
        rule_forbids="" if rule.allows_replacement else why,
        devices=plan.devices,
        places=plan.hosts,
        may_be_near=config.transport == "auto",
        over_tcp=config.over_tcp,
        actors=config.engine == "ray",
        num_threads=plan.threads_per_worker,
        asked_threads=config.threads_per_worker or 0,
        cores=0 if config.has_remote else plan.cores,
        epochs=config.epochs,
        evaluate_every=config.evaluate_every,
        num_batches=(plan.num_train_batches, plan.num_test_batches),
        num_updates=plan.num_updates // config.accumulate,
        log_every=config.log_every,
        saves=config.saves,
        layers=plan.layer_ranges,
        moves=[move for move in plan.moves if move[0] > result.began_at],
        layer_costs=plan.layer_costs,
        may_end=plan.may_end,
        checkpoints=str(folder.checkpoints.resolve()),
        most_file_bytes=_most_file_bytes(plan),
        num_test=plan.num_test,
        **asdict(config.goal),
        best=outlook.best,
        best_epoch=outlook.best_epoch,
        last_epoch=result.epochs[-1].epoch if result.epochs else 0,
        is_resumed=is_resumed,
        max_restarts=config.max_restarts,
        start_timeout_s=config.start_timeout_s + (COMPILE_S if config.compile else 0.0),
        join_timeout_s=config.join_timeout_s,
        silent_after_s=config.silent_after_s,
        stuck_after_s=config.stuck_after_s,
        logs=str(folder.logs),
    )


def _most_file_bytes(plan: Plan) -> int:
    """Of weights, of a shard with all that optimizers and synthesizers keep, and of a profile."""
    stages = (plan.layers[first:end] for first, end in plan.layer_ranges)
    largest = max(sum(layer.size_bytes for layer in layers) for layers in stages)
    return PROFILE_BYTES + SHARD_SHARE * largest
