"""One death at each of many moments of a run, spread evenly over all that somebody does in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

from tests.simulation.run import simulate
from tests.simulation.scenario import Death, Scenario, draw

__all__ = ["A_RUN", "ROLES", "moments"]

ROLES: Final = ("source", "middle", "head", "launcher", "fork server", "machine")
A_RUN = 100  # moments of one


def moments(role: str, seed: int) -> Iterator[Scenario]:
    """Up to A_RUN scenarios: the run of a seed, in which nobody else dies."""
    drawn = draw(seed)
    least = {"head": 2, "middle": 3}.get(role, 1)
    whole = dataclasses.replace(
        drawn, deaths=(), stop_at=2.0, bad_writes=0.0, num_stages=max(least, drawn.num_stages)
    )
    if role in ("fork server", "machine"):
        for place in range(A_RUN):
            work = (place + 1) / A_RUN * 1.02
            yield _with(whole, Death("machine" if role == "machine" else "fork server", work=work))
        return
    stage = {"source": 0, "middle": 1 + seed % max(1, whole.num_stages - 2)}.get(
        role, whole.num_stages - 1
    )
    name = "launcher" if role == "launcher" else f"worker {stage}"
    count = simulate(whole).ops[name]
    for op in sorted({1 + place * count // A_RUN for place in range(A_RUN)}):
        yield _with(whole, Death("launcher" if role == "launcher" else "worker", stage, op=op))


def _with(scenario: Scenario, death: Death) -> Scenario:
    return dataclasses.replace(scenario, deaths=(death,))
