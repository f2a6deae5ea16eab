"""Whether layers can move as the user asks for."""

from __future__ import annotations

from dni_async.errors import ConfigError
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.plan.trial import try_regrouped

__all__ = ["check_moves"]


def check_moves(plan: Plan) -> None:
    """Raises ConfigError for a move that names other stages or layers than there are, or a cut
    where the network cannot be cut.
    """
    for (_, counts), (_, layers) in zip(plan.config.asked_moves, plan.moves, strict=True):
        if len(counts) != plan.num_stages or sum(counts) != plan.num_layers:
            raise ConfigError(
                f"moves: {'+'.join(map(str, counts))} is {sum(counts)} layers in {len(counts)} "
                f"stages, but there are {plan.num_layers} in {plan.num_stages}"
            )
        try_regrouped(plan.config, layers, plan.output_shape, plan.form)
