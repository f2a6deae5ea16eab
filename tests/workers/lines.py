"""Small lines in one process, for tests of every way to run."""

from __future__ import annotations

import math
import random
from typing import Any

from dni_async.config.run_config import RunConfig
from dni_async.wire.counters import Work
from dni_async.workers.in_memory import InMemoryLine, build_line

__all__ = ["NUM_BATCHES", "SMALL", "assert_it_trained", "named", "trained", "works"]

SMALL = {"layers": 4, "width": 16, "norm": "none", "batch_size": 100, "epochs": 2, "lr": 0.003}
NUM_BATCHES = 15  # the digits in batches of 100, the last one of 37


def trained(*, draw: random.Random | None = None, **settings: Any) -> InMemoryLine:
    """A line that has run to its end."""
    line = build_line(RunConfig(**{**SMALL, **settings}))
    line.run(draw)
    return line


def works(line: InMemoryLine) -> list[Work]:
    """What each stage has told of its work."""
    return [counters.work for _, counters in sorted(line.counters.items())]


def named(settings: dict[str, Any]) -> str:
    """Settings as the id of a test."""
    return " ".join(f"{name}={value}" for name, value in settings.items()) or "default"


def assert_it_trained(line: InMemoryLine, num_batches: int = NUM_BATCHES) -> None:
    """Every batch is applied once at each stage, no window is exceeded, and the loss falls."""
    expected = line.config.epochs * num_batches // line.config.accumulate
    for equipment, counters in zip(line.equipments, line.counters.values(), strict=True):
        assert equipment.stage.version == counters.work.updates == expected
        assert counters.window.max_pending <= equipment.machine.window
        assert (counters.work.skipped, counters.work.replayed) == (0, 0)
    assert all(value.isfinite().all() for value in line.state_dict().values())
    assert line.losses[-1] < line.losses[0] < 1.1 * math.log(10)
