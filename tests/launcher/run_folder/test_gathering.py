"""Which checkpoint is to be read back, and which is given up, by what stages tell."""

from __future__ import annotations

import random

import pytest

from dni_async.launcher.run_folder.gathering import (
    MAX_OPEN,
    AllTold,
    Gathering,
    GivenUp,
    fault_in,
)
from dni_async.wire.messages import Saved


def saved(batch_id: int, stage: int, reason: str = "", index: int = 3) -> Saved:
    return Saved("run", stage, batch_id, 1, index, 10, "hash", reason, stage, stage + 1)


def test_all_have_to_tell() -> None:
    gathering = Gathering(3)
    assert gathering.enter(saved(5, 2)) == []
    assert gathering.enter(saved(5, 0)) == []
    assert gathering.enter(saved(5, 0)) == []  # told twice is told once
    assert gathering.enter(saved(5, 1)) == [AllTold((saved(5, 0), saved(5, 1), saved(5, 2)))]


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (saved(5, 1, "disk full"), "stage 1: disk full"),
        (saved(5, 1, index=4), "stage 1 saved at another place than stage 0"),
    ],
)
def test_a_part_that_is_not_there_or_of_another_cut_gives_it_up(last: Saved, reason: str) -> None:
    gathering = Gathering(2)
    assert gathering.enter(saved(5, 0)) == []
    assert gathering.enter(last) == [GivenUp(5, reason)]
    assert gathering.enter(saved(6, 0)) == []
    assert gathering.enter(saved(6, 1)) == [AllTold((saved(6, 0), saved(6, 1)))]


def test_a_word_that_was_lost_costs_one_checkpoint() -> None:
    gathering = Gathering(2)
    assert gathering.enter(saved(5, 0)) == []
    assert gathering.enter(saved(6, 0)) == []
    assert gathering.enter(saved(6, 1)) == [
        GivenUp(5, "stage 1 did not tell of its part"),
        AllTold((saved(6, 0), saved(6, 1))),
    ]


def test_a_slow_stage_is_waited_for() -> None:
    gathering = Gathering(2)
    for batch_id in range(10):
        assert gathering.enter(saved(batch_id, 0)) == []
    for batch_id in range(10):
        assert gathering.enter(saved(batch_id, 1)) == [
            AllTold((saved(batch_id, 0), saved(batch_id, 1)))
        ]


def test_what_one_stage_tells_is_bounded() -> None:
    """Whatever it tells; the others' checkpoints are not lost for it."""
    gathering, random_ = Gathering(2), random.Random(3)
    given_up = 0
    for _ in range(20 * MAX_OPEN):
        given_up += len(gathering.enter(saved(random_.randrange(1 << 40), 0)))
    assert given_up >= 19 * MAX_OPEN - MAX_OPEN
    last = 1 << 41
    gathering.enter(saved(last, 0))
    assert AllTold((saved(last, 0), saved(last, 1))) in gathering.enter(saved(last, 1))


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        ((10, "hash"), None),
        ((9, "hash"), "the part of stage 1 has 9 bytes on disk, needs 10"),
        ((10, "other"), "the part of stage 1 is not on disk as it was saved: its sha256 differs"),
        (
            FileNotFoundError(2, "No such file or directory"),
            "the part of stage 1 cannot be read back: No such file or directory",
        ),
    ],
)
def test_what_is_read_back_is_held_against_what_was_told(
    read: tuple[int, str] | OSError, fault: str | None
) -> None:
    assert fault_in([saved(5, 0), saved(5, 1)], [(10, "hash"), read]) == fault
