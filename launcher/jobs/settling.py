"""What a run leaves open is settled by measuring, before anything of it is kept or starts."""

from __future__ import annotations

from dni_async.launcher.jobs.balance import balance, needs_balance
from dni_async.launcher.jobs.rule_choice import choose_rule, needs_choice
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.plan.trial import try_regrouped

__all__ = ["with_rule", "with_stages"]


def with_rule(plan: Plan, display: Display) -> Plan:
    """The plan with the rule that trials in its stages have found, where that is left open.

    Its stages then go by what layers take with the default rule. Raises WorkerDied, ConfigError as
    with_stages does.
    """
    if not needs_choice(plan.config):
        return plan
    if needs_balance(plan):
        plan = with_stages(plan, display)
    return choose_rule(plan, display.note, display.waiting)


def with_stages(plan: Plan, display: Display) -> Plan:
    """The plan with its layers in stages as measuring has them, which the user is told.

    Raises WorkerDied where that fails, ConfigError for a network that cannot be cut there.
    """
    display.waiting("measuring how long each layer takes")
    plan, sentence = balance(plan)
    try_regrouped(plan.config, plan.layer_ranges, plan.output_shape, plan.form)
    display.note(sentence)
    return plan
