"""What is known of layers that move: which stage holds which, and the move that is under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from dni_async.launcher.decisions.known.choosing import Choice, Layers, LayerWork
from dni_async.launcher.decisions.known.pace import Pace, Paces

__all__ = ["REST_S", "AskedMove", "Balance", "Move", "Moves"]

LOADED = 0.7  # of the time: who is busy for so long shows how fast it is
RECALLED_S = 20.0  # who waits is taken for no faster than it was, so long
REST_S = 5.0  # behind a move; twice as long behind each that brought too little


@dataclass(frozen=True, slots=True)
class AskedMove:
    """What the user asks for: from the batch with that id on, stages hold these layers."""

    batch_id: int
    layers: Layers


@dataclass(slots=True)
class Move:
    """One that is under way. layers: those that stages are to hold. from_batch: not before it.
    is_asked: by the user.

    batch_id: where the line stands, once paused_at says since when. is_decided: what was saved
    there is a checkpoint, so that from now on these are the layers of the stages, whoever dies.
    awaited: those that do not hold them yet. before_s, after_s: seconds that the slowest stage
    takes for a batch, and should take then; 0 where the user asked for it.
    """

    number: int
    layers: Layers
    from_batch: int = 0
    is_asked: bool = False
    before_s: float = 0.0
    after_s: float = 0.0
    batch_id: int = -1
    paused_at: float | None = None
    is_decided: bool = False
    awaited: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Balance:
    """By what layers move by themselves. num_found: how many looks, one after another, have found
    that it pays. rests_until: none move before. foretold: what the last move should bring, until
    it is told what it has brought.
    """

    work: LayerWork
    paces: Paces
    next_look: float = 0.0
    num_found: int = 0
    rest_s: float = REST_S
    rests_until: float = 0.0
    foretold: Choice | None = None
    loaded: dict[int, tuple[float, float]] = field(default_factory=dict)

    def seconds(self, paces: Sequence[Pace], layers: Layers, now: float) -> list[float]:
        """What each stage takes for a batch, where it is busy all the time.

        Who waits for most of the time may seem faster than it is: what a share of a core leaves
        over serves the next batch. loaded: by stage, seconds for a unit of cost when it was last
        busy most of the time, and when that was.
        """
        found = []
        for stage, (pace, (first, end)) in enumerate(zip(paces, layers, strict=True)):
            cost = sum(self.work.costs[first:end])
            if pace.share >= LOADED:
                self.loaded[stage] = pace.batch_s / cost, now
            before, at = self.loaded.get(stage, (0.0, now))
            is_recalled = pace.share < LOADED and now - at < RECALLED_S
            found.append(max(pace.batch_s, before * cost) if is_recalled else pace.batch_s)
        return found


class Moves:
    """The moves of a run. layers: which each stage holds now. asked: by the user, still to come.

    held: the last pause that the source was asked for and has not told of: the stage above may have
    it on its way when the source dies.
    """

    def __init__(self, layers: Sequence[Sequence[int]], asked: Sequence[AskedMove] = ()) -> None:
        self.layers: Layers = tuple((first, end) for first, end in layers)
        self.asked = deque(asked)
        self.under_way: Move | None = None
        self.count = 0
        self.held = 0

    def begin(self, layers: Layers, *, before_s: float = 0.0, after_s: float = 0.0) -> Move:
        """A move to these layers, at once."""
        move = Move(self.count + 1, layers, before_s=before_s, after_s=after_s)
        return self._begin(move)

    def begin_asked(self) -> Move | None:
        """The next one that the user asks for, if there is any."""
        if not self.asked:
            return None
        asked = self.asked.popleft()
        return self._begin(Move(self.count + 1, asked.layers, asked.batch_id, is_asked=True))

    def end(self) -> Move:
        """The one under way is over; the user's that has not come to its place comes again."""
        move = self.under_way
        assert move is not None
        self.under_way = None
        if move.is_asked and move.paused_at is None:
            self.asked.appendleft(AskedMove(move.from_batch, move.layers))
        return move

    def _begin(self, move: Move) -> Move:
        self.count = self.held = move.number
        self.under_way = move
        return move
