"""Group layers into stages by the time that each one takes on a real batch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from dni_async.decisions.actions import Batch, ReturnGradient
from dni_async.launcher.places.local import ask
from dni_async.launcher.plan.choice import is_open, num_places
from dni_async.launcher.plan.plan import Plan, regrouped
from dni_async.network.partition import Cut, LayerCost, balance_layers, choose_cut, stage_seconds
from dni_async.stage.compilation import COMPILE_S

__all__ = ["balance", "needs_balance", "weighed"]

TIMEOUT_S = 120.0


def needs_balance(plan: Plan) -> bool:
    """Whether there is a choice to make by measuring, and has yet to be made; see plan.choice."""
    return not plan.is_measured and is_open(
        plan.config, num_layers=plan.num_layers, num_stages=plan.num_stages, cores=plan.cores
    )


def balance(plan: Plan) -> tuple[Plan, str]:
    """The plan with stages of near-equal cost, and a sentence with the measured milliseconds.

    Where their number is left open, it is the one whose line should be fastest. Raises WorkerDied
    when the measurement fails.
    """
    costs = _measured(plan)
    returns_all = _returns_all(plan)
    sentence = f"measured ms per batch: layers {_ms(cost.own for cost in costs)}"
    if plan.config.stages == "auto":
        chosen, others = choose_cut(
            costs, num_places(plan.config, plan.cores), returns_all=returns_all
        )
        ranges = chosen.ranges
        sentence += f"; {_said(chosen, others)}"
    else:
        ranges = balance_layers(costs, plan.num_stages, returns_all=returns_all)
        stage_s = stage_seconds(costs, ranges, returns_all=returns_all)
        sentence += f"; balanced into stages {_ms(stage_s)}"
    measured = dataclasses.replace(regrouped(plan, ranges), is_measured=True)
    return _with_costs(measured, costs), sentence


def weighed(plan: Plan) -> Plan:
    """The plan with what each layer takes, where layers may move by themselves.

    Raises WorkerDied when the measurement fails.
    """
    needs_costs = plan.config.rebalance == "on" and not plan.layer_costs and plan.num_stages > 1
    return _with_costs(plan, _measured(plan)) if needs_costs else plan


def _with_costs(plan: Plan, costs: Sequence[LayerCost]) -> Plan:
    if plan.config.rebalance != "on":
        return plan
    return dataclasses.replace(
        plan,
        layer_costs=tuple(cost.own + cost.inputs for cost in costs),
        may_end=tuple(math.isfinite(cost.boundary) for cost in costs),
    )


def _measured(plan: Plan) -> list[LayerCost]:
    """What each layer takes for a batch of the run."""
    job = {
        "config": plan.config.to_dict(),
        "device": plan.devices[0],
        "num_threads": plan.threads_per_worker,
        "input_shape": plan.input_shape,
        "output_shape": plan.output_shape,
        "form": asdict(plan.form),
    }
    timeout_s = TIMEOUT_S + (COMPILE_S if plan.config.compile else 0)
    answer = ask("dni_async.launcher.jobs.layer_probe", job, plan.threads_per_worker, timeout_s)
    return [LayerCost(**cost) for cost in answer["costs"]]


def _returns_all(plan: Plan) -> bool:
    """Whether stages return a gradient of every batch, or of anchors only, or none."""
    actions = plan.config.make_rule().on_batch(Batch(1, "train"), has_below=True, has_above=False)
    return any(isinstance(action, ReturnGradient) for action in actions)


def _said(chosen: Cut, weighed: Sequence[Cut]) -> str:
    others = ", ".join(
        f"{len(cut.ranges)}: {cut.batch_s * 1e3:.2f}" for cut in weighed if cut is not chosen
    )
    beside = f" (others {others})" if others else ""
    return (
        f"{len(chosen.ranges)} stages of {_ms(chosen.stage_s)} should be fastest, "
        f"{chosen.batch_s * 1e3:.2f} a batch{beside}"
    )


def _ms(seconds: Iterable[float]) -> str:
    return " ".join(f"{value * 1e3:.2f}" for value in seconds)
