"""``--rule auto``: short trials of a run by several rules, and the one that learns most.

Each candidate trains in a process of its own, as one line of stages in turn (workers.probe), with
the run's seed, data, network, loss, optimizer, rates and stages, and is judged by training samples
that none of them is trained on. Nothing that a trial does is part of the run.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, Final

from dni_async.config.candidates import candidates_of
from dni_async.config.run_config import RunConfig
from dni_async.data.held_out import num_held
from dni_async.decisions.rules import AUTO
from dni_async.errors import ConfigError, WorkerDied
from dni_async.launcher.jobs.trial import Trial, better_half, outcome
from dni_async.launcher.places.talk import Talk
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.plan.suited import check_suited

__all__ = ["choose_rule", "needs_choice"]

MODULE: Final = "dni_async.workers.probe"
PARTS: Final = 8  # of a trial, each with a test at its end
HALVED_AFTER: Final = 4  # of them; after 2 what begins slowly and ends best was left (0126)
SHARE: Final = 25  # one of so many of the run's updates are a trial's
LEAST: Final = 120
MOST: Final = 600
# What trials may take together once the first has begun: the more of these seconds, and of the run.
SECONDS: Final = 20.0
RUN_SHARE: Final = 0.1
START_S: Final = 60.0
# What a trial does not do, or does in its own way.
IN_A_TRIAL: Final[Mapping[str, Any]] = {
    "epochs": PARTS,
    "evaluate_every": 1,
    "metrics": (),
    "metric": None,
    "metric_mode": None,
    "target": None,
    "early_stop": False,
    "patience": None,
    "keep_best": False,
    "compile": False,
    "checkpoint_every": None,
    "profile": False,
    "torch_profiler": None,
    "record_events": False,
}


def needs_choice(config: RunConfig) -> bool:
    """Whether the rule has yet to be chosen."""
    return config.rule == AUTO


def choose_rule(
    plan: Plan,
    tell: Callable[[str], None],
    wait: Callable[[str], None],
    *,
    seconds: float = SECONDS,
) -> Plan:
    """The plan with the settings that learnt most in its stages, with what was found in choice.

    tell: is given a sentence before anything is tried; wait: how far it is. seconds: that trials
    may take together, unless a tenth of the run is more. A trial that ends early is told and not
    taken; where all do, the first candidate is. Raises ConfigError where that one does not go with
    the data or the stages.
    """
    trials = _suited(plan)
    total = num_updates(plan)
    why_not = _why_not(plan, trials, total)
    ran_out = False
    if not why_not:
        names = ", ".join(trial.name for trial in trials)
        tell(
            f"rule auto: trying {names}, {total} updates each at most, for {seconds:.0f} s or a "
            "tenth of the run at most"
        )
        with ExitStack() as ends:
            tried = _Trials(plan, trials, total // PARTS, ends, wait, seconds)
            tried.carry_out()
            ran_out = tried.ran_out
    choice, taken = outcome(trials, total // PARTS, why_not, ran_out=ran_out)
    asked, settings = plan.config.to_dict(), taken.config.to_dict()
    choice["settings"] = {name: v for name, v in settings.items() if v != asked[name]}
    notes = (*plan.notes, choice["sentence"], *taken.notes)
    return dataclasses.replace(plan, config=taken.config, choice=choice, notes=notes)


def _suited(plan: Plan) -> list[Trial]:
    """The candidates that go with the run's settings, data and stages. Raises ConfigError."""
    trials: list[Trial] = []
    for name, config in candidates_of(plan.config).items():
        try:
            trials.append(Trial(name, config, notes=check_suited(plan, config)))
        except ConfigError:
            if not trials:  # a run by default would not begin either
                raise
    return trials


def num_updates(plan: Plan) -> int:
    """Of a trial, in parts of equal length; 0 where none can be made."""
    held = num_held(plan.num_train_batches, plan.config.batch_size)
    wanted = min(max(LEAST, min(MOST, plan.num_updates // SHARE)), plan.num_updates)
    if plan.num_train is None:  # a stream gives each batch once
        wanted = min(wanted, plan.num_train_batches - held)
    return wanted // PARTS * PARTS if held else 0


def _why_not(plan: Plan, candidates: Sequence[Trial], total: int) -> str:
    """Why nothing is tried; empty where something is."""
    if len(candidates) == 1:
        return "the only candidate that goes with the other settings"
    if plan.num_stages == 1:
        return "as one stage has no boundary"
    return "" if total else "as the run has too few batches to try anything"


class _Trials:
    """All of them. part: updates of each part; ends: closes what was begun."""

    def __init__(
        self,
        plan: Plan,
        trials: Sequence[Trial],
        part: int,
        ends: ExitStack,
        wait: Callable[[str], None],
        seconds: float,
    ) -> None:
        self._plan, self._trials, self._part = plan, trials, part
        self._ends, self._wait = ends, wait
        self._beside = min(plan.cores, len(trials))
        self._began, self._seconds = time.monotonic(), seconds
        self._alive = list(trials)
        self._talks: dict[str, Talk] = {}  # with the process of each that has begun, by its name
        self.ran_out = False  # of time

    def carry_out(self) -> None:
        """Train them all for some parts, then the better half, as long as there is time."""
        for part in range(PARTS):
            for first in range(0, len(self._alive), self._beside):
                self._train(self._alive[first : first + self._beside], part)
            self._alive = [trial for trial in self._alive if trial.goes_on]
            if len(self._alive) < 2:
                return
            if any(len(trial.losses) <= part for trial in self._alive):
                self.ran_out = True
                return
            if part + 1 == HALVED_AFTER:
                kept = better_half({trial.name: trial.losses[-1] for trial in self._alive})
                self._leave([trial for trial in self._alive if trial.name not in kept])
                self._alive = [trial for trial in self._alive if trial.goes_on]

    def _leave(self, trials: Sequence[Trial]) -> None:
        """Others learn more."""
        for trial in trials:
            trial.is_left = True
            self._talks[trial.name].close()

    def _train(self, beside: Sequence[Trial], part: int) -> None:
        """A part of some of them, at once."""
        for trial in beside:
            self._wait(f"trying rules: {trial.name}, update {part * self._part} on")
            if trial.name not in self._talks:
                self._talks[trial.name] = self._begun(trial)
        for trial in beside:
            if part == 0 and not self._hear(trial, time.monotonic() + START_S):
                trial.failed = trial.failed or f"it had not begun after {START_S:.0f} s"
            if part == 0 and trial is self._trials[0]:
                self._began = time.monotonic()
            if trial.goes_on:
                self._talks[trial.name].tell({"part": part})
        for trial in beside:
            if trial.goes_on:
                self._hear(trial, self._began + self._seconds)
        if part == 0 and beside[0] is self._trials[0]:
            self._allow(beside[0])

    def _begun(self, trial: Trial) -> Talk:
        plan, config = self._plan, trial.config
        in_a_trial = dataclasses.replace(config, **IN_A_TRIAL)
        if plan.num_train is not None:  # an epoch is a pass: no sample comes twice in it
            in_a_trial = dataclasses.replace(in_a_trial, updates_per_epoch=None)
        num_threads = max(1, plan.cores // self._beside)
        job = {
            "config": in_a_trial.to_dict(),
            "ranges": plan.layer_ranges,
            "input_shape": plan.input_shape,
            "output_shape": plan.output_shape,
            "holds_ids": plan.holds_ids,
            "form": asdict(plan.form),
            "num_updates": plan.num_updates,
            "epoch_batches": self._part,
            "num_threads": num_threads,
            "parent": os.getpid(),
        }
        talk = Talk(MODULE, job, num_threads)
        self._ends.callback(talk.close)
        return talk

    def _hear(self, trial: Trial, deadline: float) -> bool:
        """Whether its process has said anything by then."""
        try:
            answer = self._talks[trial.name].hear(deadline)
        except WorkerDied as error:
            answer = {"failed": str(error)}
        if answer is not None:
            trial.hear(answer)
        return answer is not None

    def _allow(self, first: Trial) -> None:
        """How long all may take, now that it is known what an update of the first does."""
        places = min(self._plan.num_stages, self._plan.cores)
        run_s = first.seconds / self._part * self._plan.num_updates / places
        self._seconds = max(self._seconds, RUN_SHARE * run_s)
