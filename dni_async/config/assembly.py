"""Puts the decisions of one stage together from a run's settings."""

from __future__ import annotations

from collections.abc import Iterator

from dni_async.config.names import OWN_SYNTHESIZER, SYNTHESIZERS
from dni_async.config.run_config import RunConfig
from dni_async.decisions.actions import Item
from dni_async.decisions.event_log import Header
from dni_async.decisions.machines.kept_batches import ReplayBuffer
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.machines.position import Position
from dni_async.decisions.machines.undrained import UndrainedMachine
from dni_async.decisions.machines.uneven import Slack, UnevenMachine
from dni_async.decisions.machines.unlocked import UnlockedMachine
from dni_async.decisions.rules import OccasionalRule, Rule, WarmUpRule
from dni_async.decisions.schedule import plan_work

__all__ = ["make_recorded_machine", "make_stage_machine", "make_stage_rule"]


def make_stage_machine(
    config: RunConfig,
    rule: Rule,
    *,
    stage: int,
    num_stages: int,
    num_batches: tuple[int, int] | None,
    start: tuple[int, int] = (1, 0),
    next_batch_id: int = 0,
    is_replacement: bool = False,
) -> StageMachine:
    """The machine of one stage.

    num_batches: training and test batches of an epoch, where the stage reads the data and so knows
    the order of work; else None. start: epoch and index of the training batch with which a resumed
    run goes on. next_batch_id: where a replacement does. is_replacement: a worker has died there.
    """
    work = None
    if num_batches is not None:
        work = plan_work(
            config.epochs,
            *num_batches,
            anchor_every=rule.anchor_every,
            cut_every=config.checkpoint_batches,
            evaluate_every=config.evaluate_every,
            tests_are_saved=config.keep_best,
            start=start,
        )
    position = Position(stage, num_stages)
    if stage > 0 and work is not None:
        machine: StageMachine = UnlockedMachine(
            position=position,
            window=config.places,
            first_window=config.first_window,
            rule=rule,
            work=work,
            next_batch_id=next_batch_id,
            is_replacement=is_replacement,
        )
    else:
        machine = _machine(config, rule, position, work, next_batch_id)
    machine.cuts.saves_tests = config.keep_best
    return machine


def _machine(
    config: RunConfig,
    rule: Rule,
    position: Position,
    work: Iterator[Item] | None,
    next_batch_id: int,
) -> StageMachine:
    """The one that the settings ask for."""
    window, first_window = config.places, config.first_window
    if config.when_full == "wait" and config.when_empty == "wait":
        is_drained = config.is_drained or position.num_stages == 1
        return (StageMachine if is_drained else UndrainedMachine)(
            position=position,
            window=window,
            first_window=first_window,
            rule=rule,
            work=work,
            next_batch_id=next_batch_id,
        )
    replays = None
    if config.when_empty == "replay":
        replays = ReplayBuffer(config.replay_batches, config.replay_limit)
    return UnevenMachine(
        position=position,
        window=window,
        first_window=first_window,
        rule=rule,
        slack=Slack(skips=config.when_full == "skip", replays=replays),
        work=work,
        next_batch_id=next_batch_id,
    )


def make_stage_rule(config: RunConfig, seed: int) -> Rule:
    """The rule of one stage, with what keeps it from making some of its updates.

    seed: the stage's own (seeding.stage_seed). Raises ConfigError for a class that is no rule.
    """
    rule = config.make_rule()
    if config.update_probability < 1:
        rule = OccasionalRule(rule, config.update_probability, seed)
    if config.synthesizer_warmup and rule.needs_synthesizer:
        learns_labels = SYNTHESIZERS.get(config.synthesizer, OWN_SYNTHESIZER).learns_labels
        rule = WarmUpRule(rule, config.synthesizer_warmup, learns_labels=learns_labels)
    return rule


def make_recorded_machine(header: Header) -> StageMachine:
    """The machine of a recording as it was before its first event. Raises ConfigError."""
    config = RunConfig.from_dict(header.config)
    batches = None
    if header.num_batches is not None:
        batches = (header.num_batches[0], header.num_batches[1])
    return make_stage_machine(
        config,
        make_stage_rule(config, header.seed),
        stage=header.stage,
        num_stages=header.num_stages,
        num_batches=batches,
        start=(header.start[0], header.start[1]),
        next_batch_id=header.next_batch_id,
        is_replacement=header.is_replacement,
    )
