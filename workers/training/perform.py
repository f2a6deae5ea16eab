"""Performs a stage machine's actions with torch and the links."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dni_async.decisions.actions import (
    Action,
    Announce,
    CarryBack,
    Evaluate,
    Finish,
    Forget,
    Forward,
    GiveCredit,
    Keep,
    Learn,
    LearnInput,
    Load,
    LowerMarker,
    RaiseCut,
    RaiseMarker,
    Recall,
    ReturnGradient,
    Save,
    Send,
    SynthesizeInput,
    Update,
)
from dni_async.files.writing import whole
from dni_async.wire.messages import Activation, CheckpointMark, Credit, Marker, ReturnedGradient
from dni_async.workers.reporting.epochs import Epochs
from dni_async.workers.reporting.spans import Spans
from dni_async.workers.reporting.tally import Tally
from dni_async.workers.reporting.torch_profile import TorchProfile
from dni_async.workers.saving.shard_writer import ShardWriter
from dni_async.workers.saving.stage_state import capture, save_weights
from dni_async.workers.startup.equipment import Equipment
from dni_async.workers.startup.seat import Seat
from dni_async.workers.training.batches import Batches, Work

__all__ = ["Performer"]


class Performer:
    """Carries out one action at a time on the batches in hand."""

    def __init__(
        self,
        seat: Seat,
        equipment: Equipment,
        batches: Batches,
        epochs: Epochs,
        tally: Tally,
        spans: Spans,
        torch_profile: TorchProfile | None,
        saver: ShardWriter,
    ) -> None:
        self._seat = seat
        self._equipment = equipment
        self._tally = tally
        self._spans = spans
        self._torch_profile = torch_profile
        self._saver = saver
        self._batches = batches
        self._epochs = epochs
        self._handlers: dict[type[Action], Callable[[Any], None]] = {
            Load: self._load,
            Keep: self._keep,
            Recall: self._recall,
            SynthesizeInput: self._synthesize_input,
            Forward: self._forward,
            Evaluate: self._evaluate,
            Send: self._send,
            Update: self._update,
            CarryBack: self._carry_back,
            Learn: self._learn,
            LearnInput: self._learn_input,
            ReturnGradient: self._return_gradient,
            GiveCredit: self._give_credit,
            Forget: self._forget,
            RaiseMarker: self._raise_marker,
            RaiseCut: self._raise_cut,
            Save: self._save,
            LowerMarker: self._lower_marker,
            Announce: self._announce,
            Finish: self._finish,
        }

    def perform(self, action: Action) -> None:
        """Carry out action. Raises NonFiniteError before a non-finite gradient is applied."""
        self._spans.begin()
        self._handlers[type(action)](action)

    def _load(self, action: Load) -> None:
        batch = action.batch
        is_source = self._seat.inbox is None
        if is_source and batch.purpose == "train" and batch.epoch != self._epochs.epoch:
            self._epochs.begin(batch.epoch)
        self._batches.load(batch)

    def _synthesize_input(self, action: SynthesizeInput) -> None:
        work = self._batches[action.batch_id]
        assert self._equipment.input_synthesizer is not None
        assert work.inputs is not None
        work.samples = work.inputs
        work.inputs = self._equipment.input_synthesizer.predict(work.samples)
        self._spans.lap("synthesize input", action.batch_id)

    def _keep(self, action: Keep) -> None:
        self._batches.keep(action.batch_id, action.gives_way)

    def _recall(self, action: Recall) -> None:
        self._batches.recall(action.kept_id, action.batch_id)

    def _forward(self, action: Forward) -> None:
        batch_id = action.batch_id
        work, stage = self._batches[batch_id], self._equipment.stage
        assert work.inputs is not None
        work.version = stage.version
        work.hidden = stage.forward(
            batch_id,
            work.inputs,
            needs_input_gradient=action.returns_gradient,
            keeps_graph=action.keeps_graph,
            keeps_inputs=action.keeps_inputs,
        )
        work.inputs = None  # the stage keeps it as long as it is needed
        self._spans.lap("forward", batch_id)

    def _evaluate(self, action: Evaluate) -> None:
        batch_id = action.batch_id
        work = self._batches[batch_id]
        assert work.inputs is not None
        work.hidden = self._equipment.stage.evaluate(work.inputs)
        work.inputs = None
        if self._seat.outbox is None:
            self._epochs.add_score(self._equipment.stage.score(work.hidden, work.labels))
        self._spans.lap("evaluate", batch_id)

    def _send(self, action: Send) -> None:
        batch = action.batch
        work = self._batches[batch.batch_id]
        assert work.hidden is not None
        assert self._seat.outbox is not None
        began = time.perf_counter()
        outbox = self._seat.outbox
        parts = self._equipment.staging.for_link(outbox, batch.batch_id, work.hidden)
        metas, inline = outbox.put(batch.batch_id, [*parts, work.labels_host])
        message = Activation(
            run_id=self._seat.run_id,
            batch_id=batch.batch_id,
            version=self._equipment.stage.version,
            purpose=batch.purpose,
            anchor=batch.anchor,
            tensors=metas,
        )
        outbox.send(message, inline)
        now = time.perf_counter()
        self._tally.sending_s += now - began
        self._tally.round_trips.sent(batch.batch_id, now)
        if batch.purpose == "train":
            self._tally.sent(self._equipment.machine.pending)
        self._spans.lap("send", batch.batch_id)

    def _update(self, action: Update) -> None:
        batch_id = action.batch_id
        work, stage = self._batches[batch_id], self._equipment.stage
        assert work.hidden is not None
        if action.source == "loss":
            loss, gradient = stage.loss_gradient(batch_id, work.labels)
            if batch_id >= 0:  # a replay is no progress
                self._epochs.add_loss(loss, len(work.labels))
            self._spans.lap("loss", batch_id)
        elif action.source == "synthetic":
            assert self._equipment.boundary is not None
            gradient = self._equipment.boundary.predict(work.hidden, work.labels)
            self._spans.lap("synthesize", batch_id)
        else:
            gradient = self._returned(work)
        if action.scale != 1.0:
            gradient = gradient * action.scale
        source = f"{action.source} gradient"
        work.input_gradient = stage.pull_back(batch_id, gradient, source=source)
        self._spans.lap("backward", batch_id)
        if action.applies:
            stage.apply(rate=self._rate(action, work), is_scheduled=batch_id >= 0)
        else:
            stage.discard()
        self._spans.lap("optimize", batch_id)
        if self._torch_profile is not None:
            self._torch_profile.updated(stage.version)

    def _rate(self, action: Update, work: Work) -> float:
        """What an update's learning rate is multiplied by for its gradient's staleness."""
        power = self._seat.config.staleness_power
        if action.source != "returned" or not power:
            return 1.0
        return float((1 + self._equipment.stage.version - work.version) ** -power)

    def _carry_back(self, action: CarryBack) -> None:
        batch_id = action.batch_id
        work = self._batches[batch_id]
        assert work.returned is not None
        work.input_gradient = self._equipment.stage.carry_back(
            batch_id, work.returned, source="returned gradient"
        )
        self._spans.lap("carry back", batch_id)

    def _learn(self, action: Learn) -> None:
        work, stage = self._batches[action.batch_id], self._equipment.stage
        assert self._equipment.boundary is not None
        assert work.hidden is not None
        returned = self._returned(work)
        stage.check_gradient(action.batch_id, returned, "returned gradient")
        self._equipment.boundary.learn(work.hidden, work.labels, returned)
        self._epochs.add_lesson(stage.version - work.version)
        self._spans.lap("learn", action.batch_id)

    def _learn_input(self, action: LearnInput) -> None:
        batch_id = action.batch_id
        work, target = self._batches[batch_id], self._batches.pop_target(batch_id)
        assert self._equipment.input_synthesizer is not None
        assert work.samples is not None
        self._equipment.stage.check_gradient(batch_id, target, "activation from below")
        self._equipment.input_synthesizer.learn(work.samples, target)
        work.samples = None
        self._spans.lap("learn input", batch_id)

    def _returned(self, work: Work) -> torch.Tensor:
        """The gradient that came back; what it is used for first counts its staleness."""
        assert work.returned is not None
        if not work.is_counted:
            self._tally.staleness.add(self._equipment.stage.version - work.version)
            work.is_counted = True
        return work.returned

    def _return_gradient(self, action: ReturnGradient) -> None:
        batch_id = action.batch_id
        gradient = self._batches[batch_id].input_gradient
        assert gradient is not None
        assert self._seat.inbox is not None
        began = time.perf_counter()
        parts = self._equipment.staging.for_link(self._seat.inbox, batch_id, gradient)
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

    def _forget(self, action: Forget) -> None:
        self._batches.forget(action.batch_id)
        self._equipment.stage.forget(action.batch_id)
        if self._seat.outbox is not None:
            self._seat.outbox.release(action.batch_id)

    def _raise_marker(self, action: RaiseMarker) -> None:
        assert self._seat.outbox is not None
        mark = action.mark
        self._seat.outbox.send(Marker(self._seat.run_id, mark.kind, mark.epoch))

    def _raise_cut(self, action: RaiseCut) -> None:
        assert self._seat.outbox is not None
        cut = action.cut
        mark = CheckpointMark(self._seat.run_id, cut.batch_id, cut.epoch, cut.index)
        self._seat.outbox.send(mark)

    def _save(self, action: Save) -> None:
        shard = capture(action.cut, self._seat, self._equipment, self._epochs)
        self._saver.save(action.cut, shard)
        self._spans.lap("save", action.cut.batch_id)

    def _lower_marker(self, action: LowerMarker) -> None:
        assert self._seat.inbox is not None
        mark = action.mark
        self._seat.inbox.send(Marker(self._seat.run_id, mark.kind, mark.epoch))
        self._tally.came_back(mark.kind)

    def _announce(self, action: Announce) -> None:
        if self._seat.inbox is None:  # nobody below to lower it to
            self._tally.came_back(action.mark.kind)
        self._epochs.announce(action.mark)

    def _finish(self, _action: Finish) -> None:
        """Write the weights, whole or not at all."""
        path = Path(self._seat.welcome.weights_path)
        with whole(path, writer=str(os.getpid())) as part:
            save_weights(self._equipment.stage, part)
