"""The simulation finds the faults that the program had, each among a few seeds."""

from __future__ import annotations

import pytest

from tests.simulation.faults import FAULTS, put_back
from tests.simulation.run import simulate
from tests.simulation.world import Violation

# What is seen of each, from which seed on, and among how many at most.
SEEN = {
    "sealed unverified": ("the newest checkpoint does not load", 60, 400),
    "words are not told again": ("what was said of an epoch is lost", 0, 300),
    "every death backs off": ("a replacement waits though the one before had learnt", 0, 40),
    "pruned while a worker starts from it": ("a worker failed: CheckpointError", 0, 100),
    "not synced": ("no checkpoint is found, though one was whole", 90, 400),
    "a marker is lost with a death": ("nobody goes on", 0, 100),
    "who waits for the dead": ("two outboxes at one inbox", 25, 400),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_is_put_back_is_found(name: str) -> None:
    kind, first, most = SEEN[name]
    kinds = []
    with put_back(name):
        for seed in range(first, first + most):
            try:
                simulate(FAULTS[name].scenario(seed))
            except Violation as violation:
                kinds.append(violation.kind)
                if kind in kinds:
                    return
    pytest.fail(f"{most} seeds show {kinds}")
