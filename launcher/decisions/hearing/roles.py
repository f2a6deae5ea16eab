"""Which message who may send: the one table. No I/O.

What a connection is, follows from what it has said and shown, not from what a message says of
itself: a Hello with the right ticket binds it to one stage, for as long as nobody takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from dni_async.launcher.decisions.state import RunState
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
    WorkerMessage,
)

__all__ = ["TABLE", "Entry", "Role", "Sender", "Verdict", "judge", "sender_of"]

# A stranger hosts nothing and has not joined. Of workers: one that is starting has said Hello and
# not Ready; one that is waiting, Ready, but not all have; one that has left, Bye. A dead one has
# been found dead, and its last words may come yet. One who is replaced has a successor.
Role = Literal["stranger", "spare", "starting", "waiting", "training", "left", "dead", "replaced"]
Place = Literal["anywhere", "source", "head", "below the head", "above the source"]
Verdict = Literal["heard", "passed over", "refused"]


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose a connection is. stage, incarnation: of a worker, else None and 0."""

    role: Role
    stage: int | None = None
    incarnation: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """Who may send a kind of message.

    late: from whom it may come all the same, since it was under way when something changed; it is
    passed over. place: where the sender's stage must be.
    """

    roles: tuple[Role, ...]
    late: tuple[Role, ...] = ()
    place: Place = "anywhere"


_AT_WORK: Final[tuple[Role, ...]] = ("training", "dead")
_WORKER: Final[tuple[Role, ...]] = ("starting", "waiting", "training", "left", "dead")
_GONE: Final[tuple[Role, ...]] = ("dead", "replaced")

TABLE: Final[dict[type, Entry]] = {
    Join: Entry(("stranger", "spare")),
    Alive: Entry(("spare",), late=("stranger",)),  # a spare that was given a stage meanwhile
    Hello: Entry(("stranger",)),
    FileWanted: Entry(("starting",), late=_GONE),
    Ready: Entry(("starting",), late=_GONE),
    Progress: Entry(_AT_WORK, late=("replaced",)),
    EpochTrained: Entry(_AT_WORK, late=("replaced",), place="source"),
    EndReached: Entry(_AT_WORK, late=("replaced",), place="source"),
    EpochLoss: Entry(_AT_WORK, late=("replaced",), place="head"),
    Evaluated: Entry(_AT_WORK, late=("replaced",), place="head"),
    BoundaryEpoch: Entry(_AT_WORK, late=("replaced",), place="below the head"),
    Saved: Entry(_AT_WORK, late=("replaced",)),
    Paused: Entry(("training",), late=_GONE, place="source"),
    Regrouped: Entry(("training",), late=_GONE),
    FilePart: Entry(("training",), late=_GONE),
    InboxMoved: Entry(("training",), late=_GONE, place="above the source"),
    Bye: Entry(("training",), late=_GONE),
    Failed: Entry(_WORKER, late=("replaced",)),
}
assert set(TABLE) == set(get_args(WorkerMessage))


def sender_of(state: RunState, peer: str, was_worker: Callable[[str], bool]) -> Sender:
    """Whose the connection is that is named peer. was_worker: whether it has been some worker's."""
    roster = state.roster
    stage = next((each for each, known in roster.peers.items() if known == peer), None)
    if stage is None:
        if was_worker(peer):
            return Sender("replaced")
        return Sender("spare" if state.joined.knows(peer) else "stranger")
    role, incarnation = _phase(state, stage), roster.incarnations.get(stage, 0)
    # That of a dead one's successor is awaited already; its last words are not the successor's.
    return Sender(role, stage, incarnation - 1 if role == "dead" else incarnation)


def _phase(state: RunState, stage: int) -> Role:
    roster = state.roster
    if stage not in roster.hellos:
        return "dead"
    if stage in roster.left:
        return "left"
    if stage not in roster.ready:
        return "starting"
    return "training" if state.has_started else "waiting"


def judge(sender: Sender, message_type: type, num_stages: int) -> tuple[Verdict, str]:
    """Whether who sends it may send such a message; if it is refused, why."""
    entry = TABLE[message_type]
    if sender.role in entry.roles:
        if sender.stage is None or _is_at(sender.stage, entry.place, num_stages):
            return "heard", ""
        return "refused", f"it may come from {_where(entry.place)} alone"
    if sender.role in entry.late:
        return "passed over", ""
    return "refused", f"it is {_what(sender.role)}"


def _is_at(stage: int, place: Place, num_stages: int) -> bool:
    match place:
        case "source":
            return stage == 0
        case "head":
            return stage == num_stages - 1
        case "below the head":
            return stage < num_stages - 1
        case "above the source":
            return stage > 0
    return True


def _where(place: Place) -> str:
    is_one = place in ("source", "head")
    return f"{'the' if is_one else 'stages'} {place}"


def _what(role: Role) -> str:
    """What a sender is, who is refused for that."""
    return {
        "stranger": "a member that has not joined",
        "spare": "a spare",
        "starting": "a worker that has not said Ready",
        "waiting": "a worker that was not told to start",
        "training": "a worker that has said Ready",
        "left": "a worker that has said Bye",
        "dead": "a worker that was found dead",
        "replaced": "a worker that was replaced",
    }[role]
