"""Which part of a trace stands for the run."""

from __future__ import annotations

import pytest

from dni_async.launcher.report.html.timeline.excerpt import take_excerpt
from dni_async.launcher.report.html.timeline.lockstep import StageTime
from dni_async.launcher.report.html.timeline.recorded import Arrow, Mark, Trace

TIMES = [StageTime(1.0, 2.0), StageTime(1.0, 1.0)]  # a batch in five seconds of lockstep


def line(*ends: float, tests: tuple[float, ...] = ()) -> Trace:
    """Two stages; the upper one ends its updates at these moments, and tests at those."""
    updates = [Mark(end - 1, end, "optimize", batch, batch) for batch, end in enumerate(ends)]
    upper = sorted([*updates, *(Mark(at, at + 1, "evaluate", 99, 0) for at in tests)])
    lower = [Mark(mark.began_s - 2, mark.began_s - 1, "send", mark.batch, 0) for mark in updates]
    ways = [Arrow(at.began_s + 0.5, at.ended_s + 1, "activation", 0, 1) for at in lower]
    return Trace({0: lower, 1: upper}, ways)


def test_as_many_batches_pass_in_it_as_in_most_parts() -> None:
    slow_then_fast = [10.0, 14.0, 18.0, *(20.0 + number for number in range(20))]
    excerpt = take_excerpt(line(*slow_then_fast), TIMES, num_lockstep=1)
    assert excerpt is not None
    assert excerpt.ended_s - excerpt.began_s == pytest.approx(5.0)
    assert (excerpt.num_lockstep, excerpt.num_passed) == (1, 5)  # one a second, as mostly
    assert excerpt.lockstep_s == pytest.approx(5.0)
    assert excerpt.batch_s == pytest.approx((39 - 10) / 22)


def test_one_batch_is_followed_by_the_arrows_that_lie_within() -> None:
    excerpt = take_excerpt(line(*map(float, range(10, 40))), TIMES, num_lockstep=1)
    assert excerpt is not None
    (arrow,) = excerpt.arrows
    assert excerpt.began_s < arrow.began_s < arrow.ended_s < excerpt.ended_s
    assert any(mark.batch == excerpt.batch for mark in excerpt.marks[0])
    without = line(*map(float, range(10, 40)))
    without.arrows.clear()
    excerpt = take_excerpt(without, TIMES, num_lockstep=1)
    assert excerpt is not None
    assert (excerpt.batch, excerpt.arrows) == (-1, [])


def test_a_long_way_is_followed_though_others_began_after_it() -> None:
    trace = line(*map(float, range(10, 40)))
    first = trace.arrows[0]
    late = [Arrow(at, at + 0.05, "gradient", 0, 1) for at in (24.6, 24.7, 24.8)]
    at_first = trace.marks[0][0]
    trace.marks[0] += [Mark(at.began_s - 0.01, at.began_s, "send", 0, 0) for at in late]
    trace.marks[0].sort()
    trace.arrows = sorted([*trace.arrows, *late])
    excerpt = take_excerpt(trace, TIMES, num_lockstep=1)
    assert excerpt is not None
    assert (excerpt.batch, list(excerpt.arrows)) == (at_first.batch, late)
    assert first.ended_s < excerpt.began_s


def test_lockstep_has_whole_batches_from_the_same_moment_on() -> None:
    excerpt = take_excerpt(line(*map(float, range(10, 60))), TIMES, num_lockstep=3)
    assert excerpt is not None
    assert excerpt.lockstep.keys() == excerpt.marks.keys() == {0, 1}
    kinds = [(mark.kind, mark.batch) for mark in excerpt.lockstep[1]]
    assert kinds == [(kind, batch) for batch in range(3) for kind in ("forward", "backward")]
    assert excerpt.lockstep[0][0].began_s == excerpt.began_s
    assert excerpt.lockstep[0][-1].ended_s == pytest.approx(excerpt.ended_s)


def test_it_lies_within_training() -> None:
    ends = [*range(10, 20), *range(30, 40)]
    trace = line(*map(float, ends), tests=(20.0, 21.0))
    excerpt = take_excerpt(trace, TIMES, num_lockstep=1)
    assert excerpt is not None
    assert excerpt.ended_s <= 19 or excerpt.began_s >= 30
    assert take_excerpt(trace, TIMES, num_lockstep=2) is None  # nine seconds without a test
    assert take_excerpt(trace, [StageTime(0.0, 0.0)] * 2, num_lockstep=1) is None
