"""Who may send which message: all there is, written out."""

from __future__ import annotations

import pytest

from dni_async.launcher.decisions.hearing.roles import TABLE, Role, Sender, judge
from dni_async.wire.messages import (
    Alive,
    BoundaryEpoch,
    Bye,
    EndReached,
    EpochLoss,
    EpochTrained,
    Evaluated,
    Failed,
    FilePart,
    FileWanted,
    Hello,
    InboxMoved,
    Join,
    Paused,
    Progress,
    Ready,
    Regrouped,
    Saved,
)

NUM_STAGES = 3
SOURCE, MIDDLE, HEAD = range(NUM_STAGES)
OUTSIDERS: tuple[Role, ...] = ("stranger", "spare")
WORKERS: tuple[Role, ...] = ("starting", "waiting", "training", "left", "dead", "replaced")

# Kind -> who is heard: of outsiders by role; of workers by role and stage.
EVERY = (SOURCE, MIDDLE, HEAD)
HEARD: dict[type, set[tuple[Role, int | None]]] = {
    Join: {("stranger", None), ("spare", None)},
    Alive: {("spare", None)},
    Hello: {("stranger", None)},
    Ready: {("starting", stage) for stage in EVERY},
    FileWanted: {("starting", stage) for stage in EVERY},
    Progress: {(role, stage) for role in ("training", "dead") for stage in EVERY},
    EpochTrained: {("training", SOURCE), ("dead", SOURCE)},
    EndReached: {("training", SOURCE), ("dead", SOURCE)},
    EpochLoss: {("training", HEAD), ("dead", HEAD)},
    Evaluated: {("training", HEAD), ("dead", HEAD)},
    BoundaryEpoch: {(role, stage) for role in ("training", "dead") for stage in (SOURCE, MIDDLE)},
    Saved: {(role, stage) for role in ("training", "dead") for stage in EVERY},
    Paused: {("training", SOURCE)},
    Regrouped: {("training", stage) for stage in EVERY},
    FilePart: {("training", stage) for stage in EVERY},
    InboxMoved: {("training", MIDDLE), ("training", HEAD)},
    Bye: {("training", stage) for stage in EVERY},
    Failed: {
        (role, stage)
        for role in ("starting", "waiting", "training", "left", "dead")
        for stage in EVERY
    },
}


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
def test_each_kind_is_heard_of_these_and_of_nobody_else(kind: type) -> None:
    senders = [(role, None) for role in OUTSIDERS]
    senders += [(role, stage) for role in WORKERS for stage in EVERY]  # type: ignore[misc]
    heard = {
        (role, stage)
        for role, stage in senders
        if judge(Sender(role, stage), kind, NUM_STAGES)[0] == "heard"
    }
    assert heard == HEARD[kind]


def test_what_was_under_way_when_its_sender_died_or_moved_on_is_passed_over() -> None:
    assert judge(Sender("stranger"), Alive, NUM_STAGES) == ("passed over", "")
    for kind in (Progress, Ready, Bye, Saved, FilePart, InboxMoved, FileWanted, Failed):
        assert judge(Sender("replaced"), kind, NUM_STAGES) == ("passed over", "")
    for kind in (Ready, Bye, FilePart, InboxMoved, FileWanted):
        assert judge(Sender("dead", MIDDLE), kind, NUM_STAGES) == ("passed over", "")


@pytest.mark.parametrize(
    ("sender", "kind", "why"),
    [
        (Sender("stranger"), EpochLoss, "it is a member that has not joined"),
        (Sender("spare"), Progress, "it is a spare"),
        (Sender("training", SOURCE), EpochLoss, "it may come from the head alone"),
        (Sender("training", HEAD), EpochTrained, "it may come from the source alone"),
        (Sender("training", HEAD), BoundaryEpoch, "it may come from stages below the head alone"),
        (Sender("training", SOURCE), InboxMoved, "it may come from stages above the source alone"),
        (Sender("training", MIDDLE), Ready, "it is a worker that has said Ready"),
        (Sender("waiting", MIDDLE), Progress, "it is a worker that was not told to start"),
        (Sender("left", MIDDLE), Bye, "it is a worker that has said Bye"),
    ],
)
def test_what_is_refused_is_refused_for_a_reason(sender: Sender, kind: type, why: str) -> None:
    assert judge(sender, kind, NUM_STAGES) == ("refused", why)
