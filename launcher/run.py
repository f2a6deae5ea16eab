"""One whole run: check, train decoupled, train the baselines, report."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.files.checkpoint import prune
from dni_async.launcher.coordination.coordinator import train_decoupled
from dni_async.launcher.interruption import Interrupted
from dni_async.launcher.jobs.balance import balance, needs_balance
from dni_async.launcher.jobs.baseline_process import train_baseline, waiting_beside
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.monitoring.live.screen import live_display
from dni_async.launcher.monitoring.watchers import WatchedDisplay, Watchers, open_watchers
from dni_async.launcher.plan.host.asking import ask_host
from dni_async.launcher.plan.plan import Plan, make_plan, regrouped
from dni_async.launcher.plan.room import check_room
from dni_async.launcher.plan.trial import try_regrouped
from dni_async.launcher.report.building import build_report
from dni_async.launcher.report.comparison import ALL_THREADS, ONE_THREAD
from dni_async.launcher.report.results import RunResult
from dni_async.launcher.report.rows import layer_range
from dni_async.launcher.report.watcher import Watcher
from dni_async.launcher.run_folder.best import forget_later
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.model import join_model
from dni_async.launcher.run_folder.resume import Resumption, find_resumption, stage_files
from dni_async.launcher.run_folder.returned import disagreement, trained_figures
from dni_async.launcher.run_folder.trace import phase_seconds, read_spans, write_trace
from dni_async.launcher.run_folder.trust import check_contents

if TYPE_CHECKING:
    from dni_async.launcher.places.ray.cluster import RayCluster

__all__ = ["run"]


def run(
    config: RunConfig,
    folder: RunFolder,
    console: Console,
    *,
    overwrite: bool = False,
    resume: bool = False,
    report_copy: Path | None = None,
    watcher: Watcher | None = None,
) -> tuple[Plan, dict[str, Any]]:
    """Do what config asks; the plan that was carried out, and what report.json holds.

    resume: go on with the run that folder holds, from its newest whole checkpoint. watcher: hears
    of the run beside those that config asks for, behind them.
    Raises ConfigError before any process starts, DniError after. However it ends, folder holds a
    readable report of what was done.
    """
    with live_display(console) as display, _connected(config, display) as cluster:
        for note in ask_host(config, folder.path):
            display.note(note)
        if not resume:
            folder.check_free(overwrite=overwrite)
        plan = make_plan(config, display.waiting)
        _check_profiled_stage(plan)
        check_room(plan, folder.path)
        with open_watchers(plan.config, folder.tensorboard) as watchers:
            watchers.all += [] if watcher is None else [watcher]
            return _carry_out(
                plan, folder, display, watchers, cluster, resume=resume, report_copy=report_copy
            )


@contextmanager
def _connected(config: RunConfig, display: Display) -> Iterator[RayCluster | None]:
    """The Ray cluster that is to place the workers, if one is. Raises ConfigError.

    Also where its workers would not reach this node.
    """
    if config.engine != "ray":
        yield None
        return
    from dni_async.launcher.places.ray.cluster import ray_cluster

    display.waiting("connecting to the Ray cluster")
    with ray_cluster(config.address) as cluster:
        _reachable(config, cluster)
        yield cluster


def _carry_out(
    plan: Plan,
    folder: RunFolder,
    shown: Display,
    watchers: Watchers,
    cluster: RayCluster | None,
    *,
    resume: bool,
    report_copy: Path | None,
) -> tuple[Plan, dict[str, Any]]:
    config, resumption = plan.config, None
    if resume:
        plan, resumption = _resume(plan, folder, shown)
    else:
        folder.create(plan.config.to_toml())
    if config.profile or config.torch_profiler is not None:
        folder.make_profile()
    if config.record_events:
        folder.make_events()
    runs: list[RunResult] = []
    status = "failed"
    display = WatchedDisplay(shown, watchers.all)
    try:
        if needs_balance(plan) and (resumption is None or not resumption.keeps_stages(plan)):
            display.waiting("measuring how long each layer takes")
            plan, sentence = balance(plan)
            try_regrouped(plan.config, plan.layer_ranges, plan.output_shape, plan.form)
            _check_profiled_stage(plan)
            display.note(sentence)
        display.lay_out(plan)
        for note in (_headline(plan, folder), *plan.notes, *watchers.notes):
            display.note(note)
        _train(plan, folder, display, runs, resumption, cluster)
        status = "stopped" if any(run.stopped for run in runs) else "finished"
    except Interrupted:
        status = "interrupted"
        raise
    finally:
        report = build_report(plan, runs, status=status)
        with ExitStack() as last:  # whatever a watcher or the disk may raise
            last.callback(folder.close)
            last.callback(display.end, report)
            folder.write_report(report, report_copy)
    return plan, report


def _reachable(config: RunConfig, cluster: RayCluster) -> RunConfig:
    """The settings with an address at which workers on the cluster reach this node.

    That is the loopback where there is no other host.
    """
    host = "127.0.0.1" if cluster.is_on_one_host else cluster.host
    return dataclasses.replace(config, listen=config.listen or f"tcp://{host}:0")


def _resume(plan: Plan, folder: RunFolder, display: Display) -> tuple[Plan, Resumption]:
    """Find where the run in folder goes on, and make the folder ready for it."""

    def note(sentence: str) -> None:
        display.note(f"passed over: {sentence}")

    check_contents(folder.path)
    folder.take()
    try:
        resumption = find_resumption(plan, folder, note)
        if resumption.keeps_stages(plan):
            plan = regrouped(plan, resumption.ranges())
        folder.reopen(plan.config.to_toml(), resumption.metrics)
    except BaseException:
        folder.close()
        raise
    newest = resumption.manifest.batch_id
    best = forget_later(folder.checkpoints, newest) if plan.config.keep_best else None
    spare = [] if best is None else [best]
    prune(folder.checkpoints, plan.config.keep_checkpoints, newest=newest, spare=spare)
    return plan, resumption


def _train(
    plan: Plan,
    folder: RunFolder,
    display: Display,
    runs: list[RunResult],
    resumption: Resumption | None,
    cluster: RayCluster | None,
) -> None:
    config = plan.config
    ours = RunResult(
        name=config.rule,
        kind="decoupled",
        rule=config.rule,
        num_workers=plan.num_stages,
        num_threads=plan.num_stages * plan.threads_per_worker,
        is_lockstep=plan.rule.is_lockstep,
        goal=config.goal,
    )
    runs.append(ours)
    shards: list[Path] = []
    if resumption is not None:
        at = resumption.manifest
        shards = stage_files(resumption, plan, folder)
        ours.epochs, ours.boundaries = resumption.epochs, resumption.boundaries
        ours.told, ours.began_at = resumption.told, at.batch_id
        folder.add_metrics(resumption.line(ours.name))
        display.note(
            f"resumed from checkpoint {at.batch_id}: epoch {at.epoch}, batch {at.index + 1}"
        )
    display.waiting("starting the workers")
    display.begin(ours)
    try:
        if cluster is None:
            train_decoupled(plan, folder, display, ours, shards)
        else:
            placed = dataclasses.replace(plan, config=_reachable(config, cluster))
            train_decoupled(placed, folder, display, ours, shards, cluster)
    finally:
        if config.profile:
            display.waiting("merging what the workers recorded into trace.json")
            _merge_spans(folder, display, ours)
    display.waiting("putting the trained network together")
    join_model(folder, plan.stages)
    sentence = disagreement(plan, folder, ours)
    if sentence is not None:
        display.note(sentence)
        warnings.warn(sentence, RuntimeWarning, stacklevel=2)
    if ours.stopped is not None:
        ours.stopped.test_loss, ours.stopped.test_metrics = trained_figures(plan, folder)
    if config.baseline:
        _train_baselines(plan, folder, display, runs)


def _train_baselines(
    plan: Plan, folder: RunFolder, display: Display, runs: list[RunResult]
) -> None:
    """As many epochs as the decoupled run has, where that was stopped; none where it has none.

    One that is asked to stop is the last.
    """
    (ours,) = runs
    config, last_epoch = plan.config, None
    if ours.stopped is not None:
        last_epoch = ours.epochs[-1].epoch if ours.epochs else 0
    if last_epoch == 0:
        display.note("no baseline is trained: the run has no whole epoch to be compared")
        return
    budgets = {ONE_THREAD: 1, ALL_THREADS: plan.cores}
    for name, num_threads in budgets.items():
        if ours.stop_asked is not None:  # when it was over already
            return
        baseline = RunResult(
            name=name,
            kind="baseline",
            rule="backprop",
            num_workers=1,
            num_threads=num_threads,
            goal=config.goal,
            waiting=waiting_beside(ours, plan, num_threads),
        )
        runs.append(baseline)
        display.begin(baseline)
        train_baseline(plan, folder, display, baseline, last_epoch=last_epoch)
        if baseline.stopped is not None:
            return


def _check_profiled_stage(plan: Plan) -> None:
    stage = plan.config.torch_profiler
    if stage is not None and stage >= plan.num_stages:
        raise ConfigError(
            f"torch_profiler: stage {stage} does not exist; there are {plan.num_stages} "
            f"(0 to {plan.num_stages - 1})"
        )


def _merge_spans(folder: RunFolder, display: Display, ours: RunResult) -> None:
    """Make one trace of what the workers left, however the run has ended."""
    recorded = {spans.stage: spans for spans in read_spans(folder.profile, display.note)}
    if not recorded:
        folder.drop_spans()
        return
    try:
        write_trace(folder.trace, list(recorded.values()))
    except OSError as error:
        display.note(f"trace: cannot be written: {error.strerror or error}")
        return
    ours.workers = [
        dataclasses.replace(worker, phases=phase_seconds(recorded[worker.stage]))
        if worker.stage in recorded
        else worker
        for worker in ours.workers
    ]
    for stage, spans in recorded.items():
        if spans.dropped:
            display.note(
                f"stage {stage}: the first {len(spans.spans):,} spans are in the trace, "
                f"{spans.dropped:,} more are not"
            )
    folder.drop_spans()
    display.note(f"trace: {folder.trace} (for Perfetto or chrome://tracing)")


def _targets(plan: Plan) -> str:
    """What the data have for targets."""
    if plan.num_classes:
        return f"{plan.num_classes} classes"
    shape = ", ".join(map(str, plan.form.shape))
    return f"targets [{shape}], loss {plan.config.loss}" if shape else f"loss {plan.config.loss}"


def _amount(plan: Plan) -> str:
    """How much data there is."""
    if plan.num_train is None or plan.config.updates_per_epoch is not None:
        train = f"{plan.num_train_batches:,} training batches an epoch"
    else:
        train = f"{plan.num_train:,} training samples"
    if plan.num_test is None:
        return f"{train}, tests on batches as they come"
    test = f"{plan.num_test:,} test samples" if plan.num_test else "nothing to test on"
    return f"{train}, {test}"


def _headline(plan: Plan, folder: RunFolder) -> str:
    ranges = " ".join(layer_range(first, end) for first, end in plan.layer_ranges)
    return (
        f"{plan.dataset_name}: {_amount(plan)}, {_targets(plan)}\n"
        f"{plan.num_stages} workers on {', '.join(dict.fromkeys(plan.devices))} with "
        f"{plan.threads_per_worker} thread(s) each, {plan.cores} cores; layers by stage: {ranges}\n"
        f"run directory: {folder.path}"
    )
