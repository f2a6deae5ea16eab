"""Group layers into stages by the time that each one takes on a real batch."""

from __future__ import annotations

import dataclasses

from dni_async.partition import balance_layers
from launcher.plan import Plan
from launcher.processes import ask

__all__ = ["balance", "needs_balance"]

TIMEOUT_S = 120.0


def needs_balance(plan: Plan) -> bool:
    """Whether there is a choice: fewer stages than layers, and the run asks for it."""
    is_grouped = 1 < plan.num_stages < plan.num_layers
    return is_grouped and plan.config.partition == "balanced"


def balance(plan: Plan) -> tuple[Plan, str]:
    """The plan with stages of near-equal cost, and a sentence with the measured milliseconds.

    Raises WorkerDied when the measurement fails.
    """
    job = {
        "config": plan.config.to_dict(),
        "device": plan.devices[0],
        "num_threads": plan.threads_per_worker,
        "input_shape": plan.input_shape,
        "num_classes": plan.num_classes,
    }
    seconds = ask("launcher.probe", job, plan.threads_per_worker, TIMEOUT_S)["seconds"]
    ranges = balance_layers(seconds, plan.num_stages)
    layers = " ".join(f"{value * 1e3:.2f}" for value in seconds)
    stages = " ".join(f"{sum(seconds[first:end]) * 1e3:.2f}" for first, end in ranges)
    sentence = f"measured ms per batch: layers {layers}; balanced into stages {stages}"
    return dataclasses.replace(plan, layer_ranges=ranges), sentence
