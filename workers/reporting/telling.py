"""What a worker tells of epochs: to the coordinator, and to the witness that would say it again."""

from __future__ import annotations

from dni_async.decisions.actions import TellPaused
from dni_async.decisions.words import EpochWord, KeptWords
from dni_async.transport.interface import ControlChannel
from dni_async.transport.link import Link
from dni_async.wire.messages import EndReached, EpochEntered, Paused, Side
from dni_async.workers.startup.seat import Seat

__all__ = ["Telling"]


class Telling:
    """Sends the words of one seat, and those of a predecessor that its witness hands over.

    A new link is used when both ends have greeted each other. The first on it is what its ends keep
    of one another, behind which an EpochEntered says that this was all.
    """

    def __init__(self, seat: Seat, control: ControlChannel) -> None:
        self._seat = seat
        self._control = control
        self.kept = KeptWords(seat.stage, seat.welcome.num_stages, seat.config.epochs)
        self._is_ungreeted: set[Side] = set()
        self._has_taken_over = not seat.is_replacement
        self._asked: list[int] = []
        self._tested = 0
        self._told_end = 0

    def tell(self, word: EpochWord) -> None:
        """Tell of an epoch: before its marker goes on, and what it lets the source send."""
        self._control.send(word)
        self.kept.say(word)
        side = self.kept.witness_side
        link = None if side is None else self._link(side)
        if link is not None and side not in self._is_ungreeted:
            link.send(word)

    def tell_paused(self, action: TellPaused) -> None:
        """The line stands still, and waits for the coordinator."""
        pause = action.pause
        self._control.send(
            Paused(self._seat.run_id, action.number, pause.epoch, pause.next_batch_id)
        )

    def hear(self, word: EpochWord | EpochEntered, side: Side) -> None:
        """A neighbour's word. Raises LinkError for one that does not concern this stage."""
        if isinstance(word, EpochEntered):
            self.kept.enter(word.epoch)
            if side == self.kept.witness_side:
                self._take_over()
            return
        again = self.kept.hear(word, side)
        if again is not None:
            self._control.send(again)

    def part(self, side: Side) -> None:
        """The neighbour on that side is gone, and the next one has not greeted yet."""
        self._is_ungreeted.add(side)

    def meet(self, side: Side) -> None:
        """There is a new link on that side, if there is any."""
        self._is_ungreeted.discard(side)
        link = self._link(side)
        if link is None:
            return
        for word in self.kept.hand_over(side):
            link.send(word)
        link.send(EpochEntered(self._seat.run_id, self.kept.entered))

    def begin(self) -> None:
        """The worker begins: who has taken another's place has two new links."""
        if self._seat.is_replacement:
            self.meet("below")
            self.meet("above")
            if self.kept.witness_side is None:
                self._take_over()

    def tell_again(self, epoch: int) -> None:
        """Answer the coordinator, once it is known what there was to be told."""
        if not self._has_taken_over:
            self._asked.append(epoch)
            return
        for word in self.kept.again(self._seat.run_id, epoch):
            self._control.send(word)

    def tested(self, epoch: int) -> None:
        """Source: the test after that epoch has ended everywhere."""
        self._tested = epoch

    def may_end(self) -> bool:
        """Source: whether all is known of what was tested, and nobody is needed to tell it."""
        if self.kept.entered >= self._tested:
            return True
        if self._told_end < self._tested:
            self._told_end = self._tested
            self._control.send(EndReached(self._seat.run_id, self._tested))
        return False

    def _take_over(self) -> None:
        self._has_taken_over = True
        asked, self._asked = self._asked, []
        for epoch in asked:
            self.tell_again(epoch)

    def _link(self, side: Side) -> Link | None:
        return self._seat.outbox if side == "above" else self._seat.inbox
