"""Copies are pulled to what they are copies of, wherever that lies above."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from benchmarks.workloads.deep.delays import DelayedLine
from benchmarks.workloads.deep.pulls import Pulled, refreshed
from dni_async.config.run_config import RunConfig
from dni_async.workers.in_memory import InMemoryLine, build_line

# Four layers of one shape, so that only the values tell which one a copy is of.
SETTINGS = {"model": "residual", "layers": 4, "width": 16, "norm": "layer", "batch_size": 250}
COPIES = {"epochs": 1, "anchor_every": 0, "synthesizer": "copy", "synthesizer_layers": 1}


def copies(line: InMemoryLine) -> list[list[torch.Tensor]]:
    """The weights of each boundary's copy."""
    boundaries = [each.boundary for each in line.equipments[:-1]]
    return [
        boundary.make(shape, place).parameters
        for boundary in boundaries
        if boundary is not None
        for place, shape in boundary.shapes.items()
    ]


def trained(share: float, every: int = 1) -> InMemoryLine:
    turns = DelayedLine("0")
    line = build_line(RunConfig(**SETTINGS, **COPIES), adapt=turns.adapt)  # type: ignore[arg-type]
    turns.after_batch = Pulled(line.equipments, share, every)
    assert len(list(turns.turns(line))) > 0
    return line


def test_a_copy_that_is_pulled_all_the_way_is_what_lies_above() -> None:
    line = trained(1.0)
    weights = [dict(each.stage.layers.named_parameters()) for each in line.equipments]
    above = [[*weights[stage].values(), *weights[3].values()] for stage in (1, 2)]
    for copied, live in zip(copies(line), [*above, [*weights[3].values()]], strict=True):
        assert [w.shape for w in copied] == [w.shape for w in live]
        assert all(map(torch.equal, copied, live))


@pytest.mark.parametrize(("share", "every"), [(0.0, 1), (1.0, 1000)])
def test_without_a_pull_nothing_is_changed(share: float, every: int) -> None:
    plain = build_line(RunConfig(**SETTINGS, **COPIES))  # type: ignore[arg-type]
    plain.run()
    for copied, free in zip(copies(trained(share, every)), copies(plain), strict=True):
        assert all(map(torch.equal, copied, free))


def test_what_an_arm_names_is_made_of_a_lines_equipment() -> None:
    assert isinstance(refreshed, partial)
    assert callable(refreshed([]))
