"""One whole run: check, train decoupled, train the baselines, report."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.files.checkpoint import prune
from dni_async.launcher.coordination.coordinator import train_decoupled
from dni_async.launcher.interruption import Interrupted, LastSteps, before_leaving
from dni_async.launcher.jobs.balance import needs_balance, weighed
from dni_async.launcher.jobs.baseline_process import baseline_result, train_baseline
from dni_async.launcher.jobs.settling import with_rule, with_stages
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.monitoring.headline import headline
from dni_async.launcher.monitoring.live.screen import live_display
from dni_async.launcher.monitoring.watchers import WatchedDisplay, open_watchers
from dni_async.launcher.plan.host.asking import ask_host
from dni_async.launcher.plan.moving import check_moves
from dni_async.launcher.plan.plan import Plan, make_plan, regrouped
from dni_async.launcher.plan.room import check_room
from dni_async.launcher.report.building import build_report, decoupled_result
from dni_async.launcher.report.comparison import ALL_THREADS, ONE_THREAD
from dni_async.launcher.report.results import RunResult
from dni_async.launcher.report.terminal.tables import print_report
from dni_async.launcher.report.watcher import Watcher
from dni_async.launcher.run_folder.best import forget_later
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.merging import merge_spans
from dni_async.launcher.run_folder.model import join_model
from dni_async.launcher.run_folder.resume import (
    Resumption,
    as_chosen,
    find_resumption,
    kept_choice,
    stage_files,
)
from dni_async.launcher.run_folder.returned import disagreement, trained_figures
from dni_async.launcher.run_folder.trust import check_contents

if TYPE_CHECKING:
    from dni_async.launcher.places.ray.cluster import RayCluster

__all__ = ["Done", "run"]


@dataclass(frozen=True, slots=True)
class Done:
    """What a run has come to: the plan that was carried out, and what report.json holds.

    failures: what could not be left where it belongs, a sentence each, with where it is.
    """

    plan: Plan
    report: dict[str, Any]
    failures: list[str]


def run(
    config: RunConfig,
    folder: RunFolder,
    console: Console,
    *,
    overwrite: bool = False,
    resume: bool = False,
    report_copy: Path | None = None,
    watcher: Watcher | None = None,
) -> Done:
    """Do what config asks.

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
            plan = with_rule(make_plan(config, display.waiting), display)
        else:
            plan = make_plan(as_chosen(config, folder.path), display.waiting)
        _check_profiled_stage(plan)
        check_room(plan, folder.path)
        with open_watchers(plan.config, folder.tensorboard) as watchers:
            watchers.all += [] if watcher is None else [watcher]
            resumption = None
            if resume:
                plan, resumption = _resume(plan, folder, display)
            else:
                folder.create(plan.config.to_toml(), plan.choice)
            _make_room(plan.config, folder)
            watched = WatchedDisplay(display, watchers.all)
            return _Run(plan, folder, watched, cluster, report_copy).carry_out(
                resumption, watchers.notes
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


class _Run:
    """One run from its plan to its report. runs: what came of each network so far.

    What it ends with are steps, and each is done, whatever became of those before it: the network,
    the report, its copy, what others are told.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        display: Display,
        cluster: RayCluster | None,
        report_copy: Path | None,
    ) -> None:
        self.plan = plan
        self.runs: list[RunResult] = []
        self.steps = LastSteps()
        self._folder = folder
        self._display = display
        self._cluster = cluster
        self._report_copy = report_copy
        self._status = "failed"
        self._has_tried_to_join = False

    def carry_out(self, resumption: Resumption | None, notes: Sequence[str]) -> Done:
        """Train everything. notes: what else the user is told before it begins.

        Raises what ended it before its end, once all of the end has been done.
        """
        with before_leaving(self._leave):
            try:
                self._begin(resumption, notes)
                self._train(resumption)
                self._status = "stopped" if any(run.stopped for run in self.runs) else "finished"
            except BaseException as error:
                is_asked = isinstance(error, Interrupted | KeyboardInterrupt)
                self._status = "interrupted" if is_asked else "failed"
                self._end()
                for sentence in self.steps.failures:
                    self._display.note(sentence)
                raise
            report = self._end()
            if self.steps.interrupted is not None:
                self.steps.do(lambda: print_report(report, self._display.console))
                raise self.steps.interrupted
        return Done(self.plan, report, self.steps.failures)

    def _begin(self, resumption: Resumption | None, notes: Sequence[str]) -> None:
        display = self._display
        if needs_balance(self.plan) and (
            resumption is None or not resumption.keeps_stages(self.plan)
        ):
            self.plan = with_stages(self.plan, display)
            _check_profiled_stage(self.plan)
        if self.plan.config.rebalance == "on":
            display.waiting("measuring how long each layer takes")
            self.plan = weighed(self.plan)
        check_moves(self.plan)
        display.lay_out(self.plan)
        for note in (headline(self.plan, self._folder.path), *self.plan.notes, *notes):
            display.note(note)

    def _train(self, resumption: Resumption | None) -> None:
        plan, folder, display = self.plan, self._folder, self._display
        ours = decoupled_result(plan)
        self.runs.append(ours)
        shards = [] if resumption is None else self._go_on(ours, resumption)
        display.waiting("starting the workers")
        display.begin(ours)
        try:
            self._train_decoupled(ours, shards)
        finally:
            self.plan = dataclasses.replace(plan, layer_ranges=ours.layers)  # as they are now
            if plan.config.profile:
                display.waiting("merging what the workers recorded into trace.json")
                self.steps.do(lambda: merge_spans(folder, display.note, ours))
        if self._join():
            self._look_at(ours)
        if plan.config.baseline:
            self._train_baselines(ours)

    def _go_on(self, ours: RunResult, resumption: Resumption) -> list[Path]:
        """The files that stages start from; ours has what was told before."""
        at = resumption.manifest
        shards = stage_files(resumption, self.plan, self._folder)
        ours.epochs, ours.boundaries = resumption.epochs, resumption.boundaries
        ours.told, ours.began_at = resumption.told, at.batch_id
        self._folder.add_metrics(resumption.line(ours.name))
        self._display.note(
            f"resumed from checkpoint {at.batch_id}: epoch {at.epoch}, batch {at.index + 1}"
        )
        return shards

    def _train_decoupled(self, ours: RunResult, shards: Sequence[Path]) -> None:
        plan, folder, display = self.plan, self._folder, self._display
        if self._cluster is None:
            train_decoupled(plan, folder, display, ours, shards)
        else:
            placed = dataclasses.replace(plan, config=_reachable(plan.config, self._cluster))
            train_decoupled(placed, folder, display, ours, shards, self._cluster)

    def _join(self) -> bool:
        """Put the network together, if it was trained to its end; whether that could be done.

        Raises Interrupted if a signal came meanwhile.
        """
        self._display.waiting("putting the trained network together")
        has_model = self._put_together()
        if self.steps.interrupted is not None:
            raise self.steps.interrupted
        return has_model

    def _put_together(self) -> bool:
        self._has_tried_to_join = True
        return self.steps.do(lambda: join_model(self._folder, self.plan.stages))

    def _look_at(self, ours: RunResult) -> None:
        """Test the network that comes back, where that may be another than was reported on."""
        sentence = disagreement(self.plan, self._folder, ours)
        if sentence is not None:
            self._display.note(sentence)
            warnings.warn(sentence, RuntimeWarning, stacklevel=2)
        if ours.stopped is not None:
            figures = trained_figures(self.plan, self._folder)
            ours.stopped.test_loss, ours.stopped.test_metrics = figures

    def _train_baselines(self, ours: RunResult) -> None:
        """As many epochs as the decoupled run has, where that was stopped; none where it has none.

        One that is asked to stop is the last.
        """
        plan, last_epoch = self.plan, None
        if ours.stopped is not None:
            last_epoch = ours.epochs[-1].epoch if ours.epochs else 0
        if last_epoch == 0:
            self._display.note("no baseline is trained: the run has no whole epoch to be compared")
            return
        for name, num_threads in {ONE_THREAD: 1, ALL_THREADS: plan.cores}.items():
            if ours.stop_asked is not None:  # when it was over already
                return
            baseline = baseline_result(plan, name, num_threads, ours)
            self.runs.append(baseline)
            self._display.begin(baseline)
            train_baseline(plan, self._folder, self._display, baseline, last_epoch=last_epoch)
            if baseline.stopped is not None:
                return

    def _end(self) -> dict[str, Any]:
        """Do all that is left to do, whatever the run came to; the report."""
        folder, display, copy = self._folder, self._display, self._report_copy
        if not self._has_tried_to_join and folder.has_all_weights(self.plan.num_stages):
            self._put_together()  # a signal came when all had left already
        report = build_report(self.plan, self.runs, status=self._status)
        self.steps.do(lambda: folder.write_report(report))
        if copy is not None:
            self.steps.do(lambda: folder.write_report(report, copy))
        try:
            self.steps.do(lambda: display.end(report))
        finally:
            self.steps.do(folder.close)
        return report

    def _leave(self) -> None:
        """There is time for what is known alone."""
        with suppress(Exception):
            report = build_report(self.plan, self.runs, status="interrupted")
            self._folder.write_report(report)
            if not self._folder.has_all_weights(self.plan.num_stages):
                self._folder.drop_weights()


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
        plan = dataclasses.replace(plan, choice=kept_choice(folder.path))
        folder.reopen(plan.config.to_toml(), resumption.metrics)
    except BaseException:
        folder.close()
        raise
    newest = resumption.manifest.batch_id
    best = forget_later(folder.checkpoints, newest) if plan.config.keep_best else None
    spare = [] if best is None else [best]
    prune(folder.checkpoints, plan.config.keep_checkpoints, newest=newest, spare=spare)
    return plan, resumption


def _make_room(config: RunConfig, folder: RunFolder) -> None:
    """For what the run is asked to leave beside its results."""
    if config.profile or config.torch_profiler is not None:
        folder.make_profile()
    if config.record_events:
        folder.make_events()


def _check_profiled_stage(plan: Plan) -> None:
    stage = plan.config.torch_profiler
    if stage is not None and stage >= plan.num_stages:
        raise ConfigError(
            f"torch_profiler: stage {stage} does not exist; there are {plan.num_stages} "
            f"(0 to {plan.num_stages - 1})"
        )
