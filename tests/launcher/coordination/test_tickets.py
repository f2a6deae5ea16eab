"""A stage is taken with the ticket of its newest incarnation, and with nothing else."""

from __future__ import annotations

import pytest

from dni_async.launcher.coordination.tickets import Tickets
from dni_async.wire.messages import PROTOCOL, Hello


def hello(stage: int, incarnation: int, ticket: str) -> Hello:
    """Of a worker that shows that ticket."""
    return Hello(PROTOCOL, "run", stage, 7, "host", "", incarnation, ticket=ticket)


def test_the_ticket_that_was_given_is_right() -> None:
    tickets = Tickets()
    first, second = tickets.issue(0, 0), tickets.issue(1, 0)
    assert first != second
    assert len(first) == 32
    assert tickets.why_wrong(hello(0, 0, first)) == tickets.why_wrong(hello(1, 0, second)) == ""


@pytest.mark.parametrize(("stage", "incarnation"), [(1, 1), (0, 1), (1, 0), (2, 0), (2**60, 0)])
def test_that_of_another_stage_or_incarnation_is_wrong(stage: int, incarnation: int) -> None:
    tickets = Tickets()
    tickets.issue(1, 0)
    old, other = tickets.issue(1, 1), tickets.issue(0, 0)
    newest = tickets.issue(1, 2)
    for ticket in (old, other, newest, "", "\ud800", "x" * 32):
        if (stage, incarnation, ticket) != (0, 0, other):
            why = tickets.why_wrong(hello(stage, incarnation, ticket))
            assert why == f"Hello without the ticket of stage {stage}, incarnation {incarnation}"


def test_no_ticket_opens_a_stage_that_nobody_was_given() -> None:
    assert Tickets().why_wrong(hello(0, 0, "")) != ""
