"""What is refused is named once, and in the end it is told how much it was."""

from __future__ import annotations

from dni_async.launcher.decisions.hearing.refusals import MAX_NAMED, MAX_OF_NO_STAGE, Refusals


def test_each_kind_of_each_stage_is_named_once() -> None:
    refusals = Refusals()
    assert refusals.refuse(1, "Saved", "it is late") == "stage 1: Saved was refused: it is late"
    assert refusals.refuse(1, "Saved", "it is early") == ""
    assert refusals.refuse(0, "Saved", "it is late").startswith("stage 0: ")
    assert refusals.refuse(1, "Bye", "it is late") != ""
    assert refusals.total == 4


def test_of_members_that_host_nothing_few_are_named() -> None:
    refusals = Refusals()
    named = [refusals.refuse(None, f"kind {number}", "why") for number in range(20)]
    assert sum(map(bool, named)) == MAX_OF_NO_STAGE
    assert named[0] == "members that host no stage: kind 0 was refused: why"


def test_there_is_an_end_to_naming() -> None:
    refusals = Refusals()
    named = [refusals.refuse(stage, "Saved", "why") for stage in range(2 * MAX_NAMED)]
    assert sum(map(bool, named)) == MAX_NAMED - MAX_OF_NO_STAGE


def test_what_was_named_is_not_told_again() -> None:
    refusals = Refusals()
    refusals.passed_over()
    assert refusals.summary() == ""
    refusals.refuse(0, "Saved", "why")
    assert refusals.summary() == ""
    assert refusals.total == 2


def test_the_end_tells_how_much_it_was() -> None:
    refusals = Refusals()
    for _ in range(1234):
        refusals.refuse(None, "Join", "why")
    for _ in range(2):
        refusals.refuse(10, "Saved", "why")
        refusals.refuse(0, "Saved", "why")
    refusals.refuse(0, "Bye", "why")
    assert refusals.summary() == (
        "refused were of members that host no stage 1,234 Join; of stage 0 2 Saved, 1 Bye; "
        "of stage 10 2 Saved"
    )
