"""How a stage gets the gradient it updates with: one small class per rule."""

from dni_async.decisions.rules.catalog import AUTO, RULES, BuiltIn, built_in
from dni_async.decisions.rules.delayed import DelayedRule
from dni_async.decisions.rules.interface import (
    RULE_MEMBERS,
    Rule,
    Traits,
    restore_rule,
    rule_state,
    traits_of,
)
from dni_async.decisions.rules.modifiers import OccasionalRule, WarmUpRule
from dni_async.decisions.rules.reference import BackpropRule, NoBackpropRule
from dni_async.decisions.rules.synthetic import AnchorRule, BootstrapRule, GreedyRule

__all__ = [
    "AUTO",
    "RULES",
    "RULE_MEMBERS",
    "AnchorRule",
    "BackpropRule",
    "BootstrapRule",
    "BuiltIn",
    "DelayedRule",
    "GreedyRule",
    "NoBackpropRule",
    "OccasionalRule",
    "Rule",
    "Traits",
    "WarmUpRule",
    "built_in",
    "restore_rule",
    "rule_state",
    "traits_of",
]
