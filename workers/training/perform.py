"""Performs a stage machine's actions with torch and the links."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dni_async.decisions.actions import (
    Action,
    Announce,
    Batch,
    CarryBack,
    Evaluate,
    Finish,
    Forget,
    Forward,
    Keep,
    Learn,
    LearnInput,
    Load,
    Recall,
    Save,
    Send,
    SynthesizeInput,
    TellPaused,
    Update,
)
from dni_async.stage.values import Gradient, scaled
from dni_async.workers.reporting.instruments import Instruments
from dni_async.workers.saving.outputs import write_weights
from dni_async.workers.saving.shard_writer import ShardWriter
from dni_async.workers.saving.stage_state import capture
from dni_async.workers.startup.equipment import Equipment
from dni_async.workers.startup.seat import Seat
from dni_async.workers.training.batches import Batches, Work
from dni_async.workers.training.link_actions import LinkActions

__all__ = ["Performer"]


class Performer:
    """Carries out one action at a time on the batches in hand."""

    def __init__(
        self,
        seat: Seat,
        equipment: Equipment,
        batches: Batches,
        instruments: Instruments,
        writer: ShardWriter,
    ) -> None:
        self._seat = seat
        self._equipment = equipment
        self._batches = batches
        self._epochs, self._tally = instruments.epochs, instruments.tally
        self._spans, self._torch_profile = instruments.spans, instruments.torch_profile
        self._writer = writer
        self._handlers: dict[type[Action], Callable[[Any], None]] = {
            Load: self._load,
            Keep: self._keep,
            Recall: self._recall,
            SynthesizeInput: self._synthesize_input,
            Forward: self._forward,
            Evaluate: self._evaluate,
            Update: self._update,
            CarryBack: self._carry_back,
            Learn: self._learn,
            LearnInput: self._learn_input,
            Forget: self._forget,
            Save: self._save,
            TellPaused: self._epochs.telling.tell_paused,
            Announce: self._announce,
            Finish: self._finish,
            **LinkActions(seat, equipment, batches, instruments).handlers,
        }

    def perform(self, action: Action) -> None:
        """Carry out action. Raises NonFiniteError before a non-finite gradient is applied."""
        self._spans.begin()
        if type(action) not in _MAY_BE_OF_TEST or not _is_of_test(action):
            self._handlers[type(action)](action)
            return
        began = time.thread_time()
        self._handlers[type(action)](action)
        self._tally.tested_s += time.thread_time() - began

    def expect(self, batch: Batch) -> None:
        """Source: batch is taken up as soon as it is there; with its first one an epoch begins."""
        if batch.purpose == "train" and batch.epoch != self._epochs.begun:
            self._epochs.begin(batch.epoch)

    def _load(self, action: Load) -> None:
        if self._seat.inbox is None:
            self.expect(action.batch)
        self._batches.load(action.batch)

    def _synthesize_input(self, action: SynthesizeInput) -> None:
        work = self._batches[action.batch_id]
        assert self._equipment.input_synthesizer is not None
        assert isinstance(work.inputs, torch.Tensor)
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
            is_late=action.is_late,
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
            assert isinstance(work.hidden, torch.Tensor)
            self._epochs.add_test(work.hidden, work.labels)
        self._spans.lap("evaluate", batch_id)

    def _update(self, action: Update) -> None:
        batch_id = action.batch_id
        work, stage = self._batches[batch_id], self._equipment.stage
        assert work.hidden is not None
        if action.source == "loss":
            loss, of_outputs = stage.loss_gradient(batch_id, work.labels)
            gradient: Gradient = of_outputs
            if batch_id >= 0:  # a replay is no progress
                weight = stage.loss.weight(work.labels)
                self._epochs.add_loss(loss, weight, len(work.labels))
            self._spans.lap("loss", batch_id)
        elif action.source == "synthetic":
            assert self._equipment.boundary is not None
            gradient = self._equipment.boundary.predict(work.hidden, work.labels)
            self._spans.lap("synthesize", batch_id)
        else:
            gradient = self._returned(work)
        if action.scale != 1.0:
            gradient = scaled(gradient, action.scale)
        source = f"{action.source} gradient"
        work.input_gradient = stage.pull_back(batch_id, gradient, source=source)
        self._spans.lap("backward", batch_id)
        if action.applies:
            stage.apply(rate=self._rate(action, work), is_scheduled=batch_id >= 0)
        else:
            stage.discard()
        if batch_id >= 0:
            self._epochs.curve.updated(batch_id, len(work.labels))
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

    def _returned(self, work: Work) -> Gradient:
        """The gradient that came back; what it is used for first counts its staleness."""
        assert work.returned is not None
        if not work.is_counted:
            staleness = self._equipment.stage.version - work.version
            self._tally.staleness.add(staleness)
            self._spans.count("staleness", staleness)
            work.is_counted = True
        return work.returned

    def _forget(self, action: Forget) -> None:
        self._batches.forget(action.batch_id)
        self._equipment.stage.forget(action.batch_id)
        if self._seat.outbox is not None:
            self._seat.outbox.release(action.batch_id)

    def _save(self, action: Save) -> None:
        shard = capture(action.cut, self._seat, self._equipment, self._epochs)
        self._writer.save(action.cut, shard)
        self._spans.lap("save", action.cut.batch_id)

    def _announce(self, action: Announce) -> None:
        if self._seat.inbox is None and self._equipment.machine.drains:  # nobody to lower it to
            self._tally.pass_marker(action.mark.kind)
        self._epochs.announce(action.mark)

    def _finish(self, _action: Finish) -> None:
        path = self._seat.welcome.weights_path
        if path:  # stages that share a process are read where they are
            write_weights(Path(path), self._equipment.stage)


_MAY_BE_OF_TEST = frozenset({Load, Send, Evaluate})


def _is_of_test(action: Action) -> bool:
    """Whether it is work on a test batch."""
    if isinstance(action, Load | Send):
        return action.batch.purpose == "evaluate"
    return isinstance(action, Evaluate)
