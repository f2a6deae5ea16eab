"""Decides for one stage: an event in, the exact actions out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from dni_async.decisions.actions import (
    Action,
    Announce,
    Arrived,
    Batch,
    CheckpointDue,
    Credited,
    Cut,
    Evaluate,
    Event,
    Finish,
    Forget,
    GiveCredit,
    Idle,
    Item,
    LinkRemade,
    Load,
    LowerMarker,
    Mark,
    MarkerReturned,
    RaiseCut,
    RaiseMarker,
    Returned,
    ReturnGradient,
    Save,
    Send,
    Turn,
    WindowSet,
    Wish,
)
from dni_async.decisions.machines.cuts import Cuts, check_waiting
from dni_async.decisions.machines.markers import END, Markers
from dni_async.decisions.machines.position import Position
from dni_async.decisions.machines.work import SourceWork
from dni_async.decisions.rules import Rule
from dni_async.decisions.schedule import resume_work
from dni_async.errors import LinkError
from dni_async.wire.messages import MAX_CREDITS

__all__ = ["StageMachine"]


class StageMachine:
    """The mutable state of one stage's decisions.

    A stage takes up a batch only while its outbox has a free place, so at most ``window`` of its
    activations are in flight, and never more than the link has ``places``. Inputs wait in
    ``_queue`` in the order they came; the link below has as many places, so at most that many of
    them are unreleased. Both are checked.

    Credits are owed and given several at once, as a message costs more than what it says: when half
    a window is owed, before a marker goes down, and before the worker waits, which keeps nobody up.

    A neighbour may be replaced at any moment by one that knows nothing. What was in flight to the
    stage above is given up then, a marker on its way raised again. What the stage below had sent is
    worked on, but not answered; a marker that comes again is. So only what was in flight is lost.

    A cut is taken up in its place, when a batch could be: with a window of 1 nothing is in flight
    then. It goes up and never comes back. Where tests are saved, the marker that ends one is a cut;
    so is a pause.

    window: the places of either link; rules may want fewer. first_window: how many of them may be
    taken until WindowSet says otherwise; None is all. work: the source's order of work; None for
    every other stage. next_batch_id: of a replacement, where the stage above expects it to go on.
    """

    drains = True  # whether nothing follows a marker before it is back
    _kind_of_markers: type[Markers] = Markers

    def __init__(
        self,
        *,
        position: Position,
        window: int,
        rule: Rule,
        first_window: int | None = None,
        work: Iterator[Item] | None = None,
        next_batch_id: int = 0,
    ) -> None:
        self.stage = position.stage
        self.has_below = position.has_below
        self.has_above = position.has_above
        self.places = rule.window(window)
        self.window = min(self.places, first_window or self.places)
        self.max_pending = 0
        self.skipped = self.replayed = 0  # see UnevenMachine
        self.finished = False
        self.next_batch_id = next_batch_id  # where the work goes on, by what was received or drawn
        self._rule = rule
        self._queue: deque[Item] = deque()
        self.cuts = Cuts()
        reach = 0 if self.drains else self.places * position.num_stages
        rest = None if work is None else resume_work(work, next_batch_id, reach)
        repeats_to = -1 if self.drains else next_batch_id
        self._work = None if rest is None else SourceWork(rest, self.cuts, repeats_to)
        self._in_flight: set[int] = set()  # sent up, place not yet freed
        self._held: set[int] = set()  # received, place below not yet freed
        self._owed: list[int] = []  # of those, done with
        self._most_owed = max(1, min(MAX_CREDITS, self.window // 2))
        self._marks = self._kind_of_markers()

    @property
    def pending(self) -> int:
        """How many activations are in flight in the outbox."""
        return len(self._in_flight)

    @property
    def has_turn(self) -> bool:
        """Whether a Turn would lead to any action."""
        item = self._peek()
        if isinstance(item, Mark):
            return self._marks.raised is None
        return item is not None and self._has_room

    @property
    def is_blocked(self) -> bool:
        """Whether the next batch is here and only a full window keeps it from being taken up."""
        return self._is_full and isinstance(self._peek(), Batch)

    def handle(self, event: Event) -> list[Action]:
        """The actions that event sets off, in the order in which to perform them.

        Raises LinkError when a neighbour breaks the rules of the link.
        """
        match event:
            case Turn():
                return self._take_up()
            case Idle():
                return self._settle()
            case Arrived(item):
                return self._accept(item)
            case Returned(batch_id):
                actions = self._rule.on_returned(batch_id, has_below=self.has_below)
                return self._complete(batch_id, actions)
            case Credited(batch_id):
                return self._complete(batch_id, self._pass_on(batch_id))
            case MarkerReturned(mark):
                return self._lower(mark)
            case LinkRemade(side):
                return self._give_up() if side == "above" else self._disown()
            case _:
                self._heed(event)
                return []

    def _heed(self, wish: Wish) -> None:
        """What matters to later turns alone."""
        match wish:
            case CheckpointDue():
                self.cuts.want()
            case WindowSet(window):
                self.window = max(1, min(self.places, window))
            case _ if self._work is None:
                raise LinkError(f"stage {self.stage} is not the source: it has no work to give up")
            case _:
                has_end = self._marks.is_ending or self.finished
                self._work.heed(wish, self._queue, has_end=has_end)

    @property
    def is_before_end(self) -> bool:
        """Whether the end of the run may be taken up next."""
        return self.has_turn and self._queue[0] == END

    @property
    def is_holding(self) -> bool:
        """Source: whether the line has paused, and waits to be told to go on."""
        return self._work is not None and self._work.pauses.is_holding

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
    def _has_room(self) -> bool:
        """Whether one more batch may be taken up."""
        return not self._is_full

    @property
    def _is_full(self) -> bool:
        return self.has_above and len(self._in_flight) >= self.window

    def _peek(self) -> Item | None:
        """The next item to take up; the source draws it from its order of work."""
        if self._work is not None:
            if self._marks.raised is not None or self.is_holding:
                return None
            self._work.draw(self._queue)
        return self._queue[0] if self._queue else None

    def _take_up(self) -> list[Action]:
        if not self.has_turn:
            return []
        item = self._draw()
        if isinstance(item, Mark):
            return self._raise(item)
        if isinstance(item, Cut):
            self.cuts.take(item)
            return [RaiseCut(item), Save(item)] if self.has_above else [Save(item)]
        return self._train(item) if item.purpose == "train" else self._evaluate(item)

    def _draw(self) -> Item:
        """Take what _peek shows."""
        return self._queue.popleft()

    def _train(self, batch: Batch) -> list[Action]:
        actions = self._rule.on_batch(batch, has_below=self.has_below, has_above=self.has_above)
        return self._begin(batch, actions)

    def _evaluate(self, batch: Batch) -> list[Action]:
        actions: list[Action] = [Evaluate(batch.batch_id)]
        if self.has_above:
            actions.append(Send(batch))
        if self.has_below:
            actions.append(GiveCredit((batch.batch_id,)))
        return self._begin(batch, actions)

    def _begin(self, batch: Batch, actions: list[Action]) -> list[Action]:
        if not self.has_below:
            self.next_batch_id = batch.batch_id + 1
        load: list[Action] = [] if self.has_below else [Load(batch)]
        forget: list[Action] = [] if self.has_above else [Forget(batch.batch_id)]
        return self._note(load + actions) + forget

    def _complete(self, batch_id: int, actions: list[Action]) -> list[Action]:
        """The stage above is done with the batch, and actions are what that sets off."""
        self._release(batch_id)
        return [*self._note(actions), Forget(batch_id)]

    def _pass_on(self, batch_id: int) -> list[Action]:
        """The credit of a batch that was skipped or lost above: no gradient frees its place."""
        is_held = batch_id in self._held and batch_id not in self._owed
        return [GiveCredit((batch_id,))] if is_held else []

    def _raise(self, mark: Mark) -> list[Action]:
        self._marks.go_up(mark)
        if self.has_above:
            return [RaiseMarker(mark)]
        return [Announce(mark), *self._lower(mark)]

    def _lower(self, mark: Mark) -> list[Action]:
        self._marks.come_back(mark, self.stage, in_flight=self._in_flight)
        actions = self._settle()
        if self.has_above:  # the head announced it before it turned it round
            actions.append(Announce(mark))
        if self.has_below and self._marks.is_awaited:  # else the stage below has yet to raise it
            actions.append(LowerMarker(mark))
        has_tested = self._marks.has_passed(Mark("trained", mark.epoch))
        if cut := self.cuts.behind(mark, has_tested=has_tested):
            actions.append(Save(cut))
        if self._work is not None:
            actions += self._work.pauses.back(mark)
        return [*actions, *self._finish(mark)] if self._marks.is_awaited else actions

    def _finish(self, mark: Mark) -> list[Action]:
        """Leave when the run's last marker has been passed on."""
        self.finished = mark.kind == "stop"
        return [Finish()] if self.finished else []

    def _give_up(self) -> list[Action]:
        """The stage above is new: nothing that was in flight comes back."""
        lost, self._in_flight = sorted(self._in_flight), set()
        actions = [action for batch_id in lost for action in self._lose_place(batch_id)]
        raised = self._marks.raised
        return actions if raised is None else [*actions, RaiseMarker(raised)]

    def _lose_place(self, batch_id: int) -> list[Action]:
        """A batch was in flight to a stage that has died."""
        return [*self._note(self._pass_on(batch_id)), Forget(batch_id)]

    def _disown(self) -> list[Action]:
        """The stage below is new: it awaits no answer, and raises a marker that waits here anew."""
        self._held, self._owed = set(), []
        self._marks.meet_new_sender()
        if self._queue and isinstance(self._queue[-1], Mark):
            self._queue.pop()
        return []

    def _accept(self, item: Item) -> list[Action]:
        if isinstance(item, Mark) and self._marks.hear_again(item):
            if not self._marks.has_passed(item):  # it is on its way, and will come down
                return []
            return [*self._settle(), LowerMarker(item), *self._finish(item)]
        self._admit(item)
        self._queue.append(item)
        return []

    def _admit(self, item: Item) -> None:
        """Check that item may come now; a batch's place below counts as taken from here on."""
        if not self._marks.may_be_followed(item, self._queue):
            raise LinkError(
                f"stage {self.stage - 1} sent {item} past a marker that has yet to come back"
            )
        if isinstance(item, Batch):
            if len(self._held) >= self.places or item.batch_id in self._held:
                raise LinkError(
                    f"stage {self.stage - 1} sent batch {item.batch_id} into a window of "
                    f"{self.places} of which {len(self._held)} places are taken"
                )
            self._held.add(item.batch_id)
            self._marks.hear_batch()
            self.next_batch_id = max(self.next_batch_id, item.batch_id + 1)
        elif isinstance(item, Cut):
            check_waiting(self._queue, below=self.stage - 1)
        else:  # the batches before it may have been skipped
            self.next_batch_id = max(self.next_batch_id, item.next_batch_id)

    def _release(self, batch_id: int) -> None:
        if batch_id not in self._in_flight:
            raise LinkError(
                f"stage {self.stage + 1} released batch {batch_id}, which is not in flight"
            )
        self._in_flight.remove(batch_id)

    def _note(self, actions: list[Action]) -> list[Action]:
        """Keep count of the places that actions take and free; gather the credits."""
        noted: list[Action] = []
        for action in actions:
            if isinstance(action, GiveCredit):
                self._owed += [each for each in action.batch_ids if each in self._held]
                continue
            if isinstance(action, Send):
                self._in_flight.add(action.batch.batch_id)
                self.max_pending = max(self.max_pending, len(self._in_flight))
            elif isinstance(action, ReturnGradient):
                if action.batch_id not in self._held:
                    continue  # whoever sent it has been replaced
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
