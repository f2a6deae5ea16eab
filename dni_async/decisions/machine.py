"""Decides for one stage: an event in, the exact actions out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from dni_async.decisions.actions import (
    Action,
    Announce,
    Arrived,
    Batch,
    Credited,
    Drained,
    Evaluate,
    Event,
    Finish,
    Forget,
    GiveCredit,
    Idle,
    Keep,
    Load,
    LowerMarker,
    Mark,
    MarkerReturned,
    RaiseMarker,
    Recall,
    Returned,
    ReturnGradient,
    Send,
    Turn,
)
from dni_async.decisions.replay import ReplayBuffer
from dni_async.decisions.rules import Rule
from dni_async.errors import LinkError
from dni_async.messages import MAX_CREDITS

__all__ = ["StageMachine"]


class StageMachine:
    """The mutable state of one stage's decisions.

    A stage takes up a batch only while its outbox has a free place, so at most ``window`` of its
    activations are in flight. Inputs wait in ``_queue`` in the order they came; the stage below
    holds the same window, so at most ``window`` of them are unreleased. Both are checked.

    Credits are owed and given several at once, for a message costs more than what it says: when
    half a window is owed, before a marker goes down, and before the worker waits. So the stage
    below is never kept waiting by one that waits.

    skips: where the window is full, a training batch is learnt from and not sent up, instead of
    waiting. replays: what is learnt from, beside what arrives, while nothing does; None: nothing.
    work: the source's order of work (schedule.plan_work); None for every other stage.
    """

    def __init__(
        self,
        *,
        stage: int,
        num_stages: int,
        window: int,
        rule: Rule,
        skips: bool = False,
        replays: ReplayBuffer | None = None,
        work: Iterator[Batch | Mark] | None = None,
    ) -> None:
        self.stage = stage
        self.has_below = stage > 0
        self.has_above = stage < num_stages - 1
        self.window = rule.window(window)
        self.max_pending = 0
        self.skipped = 0  # batches learnt from and not sent up
        self.replayed = 0
        self.finished = False
        self._rule = rule
        self._skips = skips
        self._replays = replays if self.has_below else None  # the source lacks nothing
        self._is_training = False  # from an epoch's first batch to its marker
        self._work = work
        self._queue: deque[Batch | Mark] = deque()
        self._in_flight: set[int] = set()  # sent up, place not yet freed
        self._held: set[int] = set()  # received, place below not yet freed
        self._owed: list[int] = []  # of those, done with
        self._most_owed = max(1, min(MAX_CREDITS, self.window // 2))
        self._raised: Mark | None = None  # marker on its way up and back

    @property
    def pending(self) -> int:
        """How many activations are in flight in the outbox."""
        return len(self._in_flight)

    @property
    def has_turn(self) -> bool:
        """Whether a Turn would lead to any action."""
        return self._may_replay if self._peek() is None else not self.is_blocked

    @property
    def is_blocked(self) -> bool:
        """Whether the next batch is here and only a full window keeps it from being taken up."""
        item = self._peek()
        return self._is_full and isinstance(item, Batch) and not self._may_skip(item)

    def handle(self, event: Event) -> list[Action]:
        """The actions that event sets off, in the order in which to perform them.

        Raises LinkError when a neighbour breaks the rules of the link.
        """
        match event:
            case Turn():
                return self._take_up()
            case Idle():
                return self._settle()
            case Drained():
                self._end_early()
                return []
            case Arrived(item):
                return self._accept(item)
            case Returned(batch_id):
                self._release(batch_id)
                actions = self._rule.on_returned(batch_id, has_below=self.has_below)
                return [*self._note(actions), Forget(batch_id)]
            case Credited(batch_id):
                self._release(batch_id)
                return [*self._note(self._credit_below(batch_id)), Forget(batch_id)]
            case MarkerReturned(mark):
                return self._lower(mark)

    @property
    def owes_credits(self) -> bool:
        """Whether Idle would lead to any action."""
        return bool(self._owed)

    @property
    def upcoming(self) -> Batch | None:
        """Source: the batch to load next; None where a marker is next, and on other stages."""
        item = None if self.has_below else self._peek()
        return item if isinstance(item, Batch) else None

    @property
    def _is_full(self) -> bool:
        return self.has_above and len(self._in_flight) >= self.window

    @property
    def _may_replay(self) -> bool:
        return self._is_training and self._replays is not None and self._replays.has_more

    def _may_skip(self, batch: Batch) -> bool:
        return self._skips and batch.purpose == "train"

    def _peek(self) -> Batch | Mark | None:
        """The next item to take up; the source draws it from its order of work."""
        if not self._queue and self._work is not None and self._raised is None:
            item = next(self._work, None)
            if item is not None:
                self._queue.append(item)
        return self._queue[0] if self._queue else None

    def _take_up(self) -> list[Action]:
        if not self.has_turn:
            return []
        if not self._queue:
            assert self._replays is not None
            return self._settle() + self._replay(self._replays.draw())
        item = self._queue.popleft()
        if isinstance(item, Mark):
            return self._raise(item)
        load: list[Action] = [] if self.has_below else [Load(item)]
        goes_on = self.has_above
        if item.purpose == "evaluate":
            actions = self._evaluate(item)
        elif self._is_full:
            goes_on = False
            self.skipped += 1
            actions = self._train(replace(item, anchor=False), is_sent=False)
        else:
            actions = self._train(item)
        forget: list[Action] = [] if goes_on else [Forget(item.batch_id)]
        return self._note(load + actions) + forget

    def _train(self, batch: Batch, *, is_sent: bool = True) -> list[Action]:
        """What the rule does with a batch that is new here; an anchor must be sent."""
        self._is_training = True
        actions: list[Action] = []
        if self._replays is not None:
            actions.append(Keep(batch.batch_id, self._replays.keep(batch.batch_id)))
        actions += self._rule.on_batch(batch, has_below=self.has_below, has_above=self.has_above)
        return actions if is_sent else _unsent(actions)

    def _replay(self, kept_id: int) -> list[Action]:
        """Learn from an earlier batch; no neighbour hears of it."""
        self.replayed += 1
        batch = Batch(-1 - kept_id, "train")
        actions = self._rule.on_batch(batch, has_below=False, has_above=self.has_above)
        return [Recall(batch.batch_id, kept_id), *_unsent(actions), Forget(batch.batch_id)]

    def _evaluate(self, batch: Batch) -> list[Action]:
        actions: list[Action] = [Evaluate(batch.batch_id)]
        if self.has_above:
            actions.append(Send(batch))
        if self.has_below:
            actions.append(GiveCredit((batch.batch_id,)))
        return actions

    def _raise(self, mark: Mark) -> list[Action]:
        self._raised = mark
        self._is_training = False
        if self.has_above:
            return [RaiseMarker(mark)]
        return [Announce(mark), *self._lower(mark)]

    def _end_early(self) -> None:
        """Put the end of the run in the place of all work that has not been begun."""
        if self._work is None:
            raise LinkError(f"stage {self.stage} is not the source: it has no work to give up")
        self._queue.clear()
        is_ending = self._raised is not None and self._raised.kind == "stop"
        self._work = iter([] if is_ending or self.finished else [Mark("stop", 0)])

    def _lower(self, mark: Mark) -> list[Action]:
        if mark != self._raised or self._in_flight:
            raise LinkError(
                f"stage {self.stage}: {mark} came back while {self._raised} was awaited "
                f"and {len(self._in_flight)} batches were in flight"
            )
        self._raised = None
        actions = self._settle()
        if self.has_below:
            actions.append(LowerMarker(mark))
        if not self.has_below and self.has_above:
            actions.append(Announce(mark))
        if mark.kind == "stop":
            self.finished = True
            actions.append(Finish())
        return actions

    def _accept(self, item: Batch | Mark) -> list[Action]:
        if self._raised is not None or (self._queue and isinstance(self._queue[-1], Mark)):
            raise LinkError(
                f"stage {self.stage - 1} sent {item} past a marker that has yet to come back"
            )
        if isinstance(item, Batch):
            if len(self._held) >= self.window or item.batch_id in self._held:
                raise LinkError(
                    f"stage {self.stage - 1} sent batch {item.batch_id} into a window of "
                    f"{self.window} of which {len(self._held)} places are taken"
                )
            self._held.add(item.batch_id)
        self._queue.append(item)
        return []

    def _release(self, batch_id: int) -> None:
        if batch_id not in self._in_flight:
            raise LinkError(
                f"stage {self.stage + 1} released batch {batch_id}, which is not in flight"
            )
        self._in_flight.remove(batch_id)

    def _credit_below(self, batch_id: int) -> list[Action]:
        """For an anchor that was skipped further up, whose gradient the stage below awaits too."""
        is_awaited = batch_id in self._held and batch_id not in self._owed
        return [GiveCredit((batch_id,))] if is_awaited else []

    def _note(self, actions: list[Action]) -> list[Action]:
        """Keep count of the places that actions take and free; gather the credits."""
        noted: list[Action] = []
        for action in actions:
            if isinstance(action, GiveCredit):
                self._owed += action.batch_ids
                continue
            if isinstance(action, Send):
                self._in_flight.add(action.batch.batch_id)
                self.max_pending = max(self.max_pending, len(self._in_flight))
            elif isinstance(action, ReturnGradient):
                self._held.remove(action.batch_id)
            noted.append(action)
        return noted + self._settle() if len(self._owed) >= self._most_owed else noted

    def _settle(self) -> list[Action]:
        """Give all credits that are owed."""
        if not self._owed:
            return []
        owed, self._owed = tuple(self._owed), []
        self._held.difference_update(owed)
        return [GiveCredit(owed)]


def _unsent(actions: list[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Send)]
