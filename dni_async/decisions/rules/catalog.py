"""The rules that a run can name, and the settings that each is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dni_async.decisions.rules.delayed import DelayedRule
from dni_async.decisions.rules.interface import Rule
from dni_async.decisions.rules.reference import BackpropRule, NoBackpropRule
from dni_async.decisions.rules.synthetic import GreedyRule, make_dni

__all__ = ["AUTO", "RULES", "BuiltIn", "built_in"]


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """make: called with the settings of these names, as keyword arguments."""

    make: Callable[..., Rule]
    settings: tuple[str, ...] = ()

    def made(self, config: object) -> Rule:
        """The rule, from the attributes of config that it is made from."""
        return self.make(**{name: getattr(config, name) for name in self.settings})


RULES: Final = {
    "backprop": BuiltIn(BackpropRule),
    "dni": BuiltIn(make_dni, ("targets", "anchor_every", "anchor_updates", "late_gradients")),
    "dgl": BuiltIn(GreedyRule),
    "fdg": BuiltIn(DelayedRule, ("gradient_shrink", "late_gradients")),
    "no-bprop": BuiltIn(NoBackpropRule),
}

AUTO: Final = "auto"
"""Names no rule: which of them it is to be is found out before a run."""

_UNTIL_CHOSEN: Final = "dni"


def built_in(name: str) -> BuiltIn | None:
    """The rule of that name, of auto the one that it is until it is chosen; None of others."""
    return RULES.get(_UNTIL_CHOSEN if name == AUTO else name)
