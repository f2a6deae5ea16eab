"""Gradients come back as late as was chosen, and nothing else is changed by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from benchmarks.workloads.deep.delays import DelayedLine, delays_of
from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.stage.threads import prepare_torch
from dni_async.wire.messages import BoundaryEpoch
from dni_async.workers.in_memory import InMemoryLine, build_line
from tests.workers.lines import SMALL, assert_it_trained, named, trained


@pytest.fixture(autouse=True)
def as_in_a_worker() -> Iterator[None]:
    """One thread and no denormals, as the processes of a run have it; undone afterwards."""
    num_threads = torch.get_num_threads()
    prepare_torch(1)
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(num_threads)


def delayed(delays: str, **settings: Any) -> InMemoryLine:
    """A line that has run to its end with these delays."""
    turns = DelayedLine(delays)
    line = build_line(RunConfig(**{**SMALL, **settings}), adapt=turns.adapt)
    told = list(turns.turns(line))
    assert told == line.told
    return line


@pytest.mark.parametrize(
    "settings",
    [
        {"rule": "backprop"},
        {"rule": "fdg"},
        {"targets": "bootstrap"},
        {"targets": "anchor", "anchor_every": 3},
    ],
    ids=named,
)
def test_without_delay_it_is_a_window_of_one(settings: dict[str, Any]) -> None:
    plain = trained(window=1, **settings).state_dict()
    line = delayed("0", window=1, **settings)
    assert_it_trained(line)
    for name, weight in line.state_dict().items():
        assert torch.equal(plain[name], weight), name


@pytest.mark.parametrize(
    ("delays", "settings"),
    [
        ("0", {"rule": "fdg"}),
        ("4", {"rule": "fdg"}),
        ("5,2,1", {"rule": "fdg"}),
        ("2", {"anchor_every": 5}),
        ("4,3,1", {"anchor_every": 8}),
    ],
    ids=str,
)
def test_a_gradient_is_as_many_updates_old_as_its_delay(
    delays: str, settings: dict[str, Any]
) -> None:
    """But for those at the start of an epoch, which find nothing in flight before them.

    A stage that updates at once has by then made the batch's own update too.
    """
    line = delayed(delays, window=6, **settings)
    assert_it_trained(line)
    own = 0 if settings.get("rule") == "fdg" else 1
    told = [message for _, message in line.told if isinstance(message, BoundaryEpoch)]
    wanted = delays_of(delays, 3)
    if own:
        for message in told:
            assert message.staleness_max == wanted[message.stage] + own
        return
    for stage, delay in enumerate(wanted):
        assert line.counters[stage].staleness.max_staleness == delay


def test_other_delays_than_there_are_boundaries_are_refused() -> None:
    assert delays_of("4", 3) == [4, 4, 4]
    assert delays_of("3,2,1", 3) == [3, 2, 1]
    with pytest.raises(ConfigError, match="'2,1' names 2, of 3 boundaries"):
        delays_of("2,1", 3)
    with pytest.raises(ConfigError, match="no list of numbers"):
        delays_of("late", 3)
    with pytest.raises(ConfigError, match="none may be below 0"):
        delays_of("-1", 3)
