"""Performs the actions that send something over a link."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dni_async.decisions.actions import (
    Action,
    GiveCredit,
    LowerMarker,
    Mark,
    Pause,
    RaiseCut,
    RaiseMarker,
    ReturnGradient,
    Send,
)
from dni_async.stage.values import Values, gradients_of, tensors_of
from dni_async.wire.messages import Activation, CheckpointMark, Credit, Marker, ReturnedGradient
from dni_async.workers.reporting.instruments import Instruments
from dni_async.workers.startup.equipment import Equipment
from dni_async.workers.startup.seat import Seat
from dni_async.workers.training.batches import Batches

__all__ = ["LinkActions"]


class LinkActions:
    """What goes up and down the line, of the batches in hand."""

    def __init__(
        self, seat: Seat, equipment: Equipment, batches: Batches, instruments: Instruments
    ) -> None:
        self._seat = seat
        self._equipment = equipment
        self._batches = batches
        self._tally, self._spans = instruments.tally, instruments.spans
        self.handlers: Mapping[type[Action], Callable[[Any], None]] = {
            Send: self._send,
            ReturnGradient: self._return_gradient,
            GiveCredit: self._give_credit,
            RaiseMarker: self._raise_marker,
            RaiseCut: self._raise_cut,
            LowerMarker: self._lower_marker,
        }

    def _send(self, action: Send) -> None:
        batch = action.batch
        work = self._batches[batch.batch_id]
        assert work.hidden is not None
        assert self._seat.outbox is not None
        began = time.perf_counter()
        outbox = self._seat.outbox
        exact: Sequence[int] = ()  # places of values that travel as they are
        text = ""
        if isinstance(work.hidden, Values):
            exact, text = work.hidden.structure.untaught, work.hidden.structure.text
        parts = self._equipment.staging.all_for_link(
            outbox, batch.batch_id, tensors_of(work.hidden), as_they_are=exact
        )
        metas, inline = outbox.put(batch.batch_id, [*parts, work.labels_host])
        message = Activation(
            run_id=self._seat.run_id,
            batch_id=batch.batch_id,
            version=self._equipment.stage.version,
            purpose=batch.purpose,
            anchor=batch.anchor,
            tensors=metas,
            structure=text,
        )
        outbox.send(message, inline)
        now = time.perf_counter()
        self._tally.sending_s += now - began
        self._tally.round_trips.sent(batch.batch_id, now)
        self._spans.count("window", self._tally.round_trips.num_in_flight)
        if batch.purpose == "train":
            self._tally.sent(self._equipment.machine.pending)
        self._spans.lap("send", batch.batch_id)

    def _return_gradient(self, action: ReturnGradient) -> None:
        batch_id = action.batch_id
        gradient = self._batches[batch_id].input_gradient
        assert gradient is not None
        assert self._seat.inbox is not None
        began = time.perf_counter()
        parts = self._equipment.staging.all_for_link(
            self._seat.inbox, batch_id, gradients_of(gradient)
        )
        metas, inline = self._seat.inbox.put(batch_id, parts)
        self._seat.inbox.release(batch_id)
        version = self._equipment.stage.version
        message = ReturnedGradient(self._seat.run_id, batch_id, version, True, metas)
        self._seat.inbox.send(message, inline)
        self._tally.sending_s += time.perf_counter() - began
        self._spans.lap("send gradient", batch_id)

    def _give_credit(self, action: GiveCredit) -> None:
        assert self._seat.inbox is not None
        began = time.perf_counter()
        for batch_id in action.batch_ids:
            self._seat.inbox.release(batch_id)
        self._seat.inbox.send(Credit(self._seat.run_id, action.batch_ids))
        self._tally.sending_s += time.perf_counter() - began
        self._spans.lap("send credit", action.batch_ids[-1])

    def _raise_marker(self, action: RaiseMarker) -> None:
        assert self._seat.outbox is not None
        self._seat.outbox.send(self._message_of(action.mark))
        if not self._equipment.machine.drains:  # what comes behind it is taken up at once
            self._tally.pass_marker(action.mark.kind)

    def _raise_cut(self, action: RaiseCut) -> None:
        assert self._seat.outbox is not None
        cut = action.cut
        mark = CheckpointMark(self._seat.run_id, cut.batch_id, cut.epoch, cut.index)
        self._seat.outbox.send(mark)

    def _lower_marker(self, action: LowerMarker) -> None:
        assert self._seat.inbox is not None
        self._seat.inbox.send(self._message_of(action.mark))
        if self._equipment.machine.drains or self._seat.outbox is None:
            self._tally.pass_marker(action.mark.kind)

    def _message_of(self, mark: Mark) -> Marker:
        index = mark.index if isinstance(mark, Pause) else 0
        return Marker(self._seat.run_id, mark.kind, mark.epoch, mark.next_batch_id, index)
