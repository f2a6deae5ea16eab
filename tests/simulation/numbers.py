"""Stands in for what a stage computes: each tensor carries the number of its batch.

What is learnt is how often each batch was applied. It is in the stage's weights, so it goes into
checkpoints and comes back from them, and a stage that learns twice from a batch, or from another
one than it was told, is seen at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import nn

from dni_async.config.assembly import make_stage_machine, make_stage_rule
from dni_async.decisions.machines.machine import StageMachine
from dni_async.stage.descent.optimizers import Memory
from dni_async.stage.losses.score import Score
from dni_async.synthesizers.agreement import Comparison
from dni_async.transport.staging import Staging
from dni_async.workers.startup.equipment import Equipment
from dni_async.workers.startup.seat import Seat
from tests.simulation.scenario import Scenario
from tests.simulation.world import Violation

__all__ = ["Ledger", "equipper"]

MOST_BATCHES = 4096
ROWS = torch.arange(float(MOST_BATCHES)).view(-1, 1, 1)
TARGETS = torch.zeros(1, dtype=torch.int64)


class Ledger:
    """Hears what stages learn and load. See run.SimulatedRun."""

    def loaded(self, batch_id: int) -> None:
        """The source takes up a batch."""

    def passes(self, stage: int, batch_id: int, layers: tuple[int, int]) -> None:
        """A batch passes a stage's layers, half-open."""

    def learnt(self, stage: int, batch_id: int) -> None:
        """A stage has applied an update of a batch."""

    def op(self, stage: int) -> None:
        """A stage does something."""


class _Loss:
    """What the head computes. losses: of the test after each epoch."""

    target_dtype = torch.int64

    def __init__(self, machine: StageMachine, scenario: Scenario) -> None:
        self._machine = machine
        self._scenario = scenario

    def sample_dims(self, targets: torch.Tensor) -> int:
        return 1

    def weight(self, targets: torch.Tensor) -> float:
        return 1.0

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> Score:
        epoch = (self._machine.next_batch_id - 1) // self._scenario.num_batches + 1
        return Score(1, {"loss": self._scenario.loss_after(epoch)})


class _Updates:
    """How often each batch was applied to each layer, and how many updates that were."""

    accumulated = None
    rate = 0.1

    def __init__(self, layers: tuple[int, int], num_ids: int) -> None:
        self.version = self.scheduled = 0
        self.applied = {layer: torch.zeros(num_ids, dtype=torch.int16) for layer in range(*layers)}
        self.counts = [applied.numpy() for applied in self.applied.values()]

    def memory(self) -> Memory:
        return Memory({}, {}, {})

    def remember(self, memory: Memory) -> None:
        pass


class _Stage:
    """See Stage."""

    def __init__(self, seat: Seat, machine: StageMachine, scenario: Scenario, ledger: Any) -> None:
        self.loss = _Loss(machine, scenario)
        self._range = seat.welcome.first_layer, seat.welcome.end_layer
        self.layers = _layers(*self._range)
        self.marks: Mapping[str, Any] = {}
        self.updates = _Updates(self._range, scenario.num_ids)
        self._scenario = scenario
        self._stage = seat.stage
        self._ledger = ledger
        self._pulled: int | None = None
        self._last = -1

    @property
    def version(self) -> int:
        return self.updates.version

    def tensors(self) -> dict[str, torch.Tensor]:
        return {f"weights/{layer}.weight": each for layer, each in self.updates.applied.items()}

    def forward(
        self, batch_id: int, inputs: torch.Tensor, *, keeps_inputs: bool = False, **_: object
    ) -> torch.Tensor:
        self._ledger.op(self._stage)
        if batch_id >= 0:
            self._check(batch_id, inputs, "activation")
            if batch_id <= self._last:
                raise Violation("a batch was taken up again", f"{batch_id} after {self._last}")
            self._last = batch_id
            self._ledger.passes(self._stage, batch_id, self._range)
        return inputs

    def evaluate(self, inputs: torch.Tensor) -> torch.Tensor:
        self._ledger.op(self._stage)
        return inputs

    def loss_gradient(self, batch_id: int, targets: torch.Tensor) -> tuple[float, torch.Tensor]:
        return 1.0, ROWS[max(batch_id, 0)]

    def pull_back(self, batch_id: int, gradient: torch.Tensor, *, source: str) -> torch.Tensor:
        self._ledger.op(self._stage)
        if batch_id >= 0:
            self._check(batch_id, gradient, source)
        self._pulled = batch_id
        return gradient

    def carry_back(self, batch_id: int, gradient: torch.Tensor, *, source: str) -> torch.Tensor:
        self._check(batch_id, gradient, source)
        return gradient

    def check_gradient(self, batch_id: int, gradient: torch.Tensor, source: str) -> None:
        self._check(batch_id, gradient, source)

    def apply(self, *, rate: float = 1.0, is_scheduled: bool = True) -> None:
        batch_id, self._pulled = self._pulled, None
        assert batch_id is not None
        updates = self.updates
        updates.version += 1
        updates.scheduled += is_scheduled
        if batch_id >= 0:
            for counts in updates.counts:
                counts[batch_id] += 1
            most = max(counts[batch_id] for counts in updates.counts)
            if most > 1 and not self._scenario.is_unlocked:
                raise Violation("a batch was applied twice", f"{batch_id} at stage {self._stage}")
            self._ledger.learnt(self._stage, batch_id)

    def discard(self) -> None:
        if self._pulled is not None and self._pulled >= 0:
            self._ledger.learnt(self._stage, self._pulled)
        self._pulled = None

    def forget(self, batch_id: int) -> None:
        pass

    def _check(self, batch_id: int, tensor: torch.Tensor, what: str) -> None:
        if tensor.item() != batch_id:  # there is one number in each
            raise Violation("a tensor of another batch", f"{what} of {batch_id}: {tensor}")


class _Boundary:
    """See Boundary; what it predicts carries the number of its batch too."""

    def __init__(self) -> None:
        self.comparison = Comparison()
        self.shapes: dict[int, tuple[int, ...]] = {}

    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return hidden

    def learn(self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor) -> None:
        pass

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}


class _InputSynthesizer:
    """See InputSynthesizer: samples carry the number of their batch."""

    def predict(self, samples: torch.Tensor) -> torch.Tensor:
        return samples

    def learn(self, samples: torch.Tensor, target: torch.Tensor) -> None:
        if int(samples[0, 0]) != int(target[0, 0]):
            raise Violation("a tensor of another batch", f"activation for {samples}: {target}")

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}


class _Feed:
    """See Feed."""

    wake = None
    machine: StageMachine

    def __init__(self, seat: Seat, scenario: Scenario, ledger: Any) -> None:
        self._scenario = scenario
        self._ledger = ledger if seat.stage == 0 else None
        self.num_batches = scenario.train_batches, scenario.test_batches

    def train_batch(self, epoch: int, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        batch_id = (epoch - 1) * self._scenario.num_batches + index
        if self._ledger is not None:
            self._ledger.loaded(batch_id)
        return ROWS[batch_id], TARGETS

    def test_batch(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self._ledger is not None:
            self._ledger.loaded(self.machine.next_batch_id - 1)
        return ROWS[index], TARGETS

    def is_ready(self, epoch: int, index: int, *, is_test: bool) -> bool:
        return True

    def calm(self) -> None:
        pass

    def state(self, epoch: int, index: int) -> None:
        return None

    def close(self) -> None:
        pass


def equipper(scenario: Scenario, ledger: Any) -> Callable[..., Equipment]:
    """What gives a stage its equipment, as startup.equipment.equip does. ledger: see Ledger."""

    def equip(
        index: int,
        welcome: Any,
        config: Any,
        *,
        start: tuple[int, int],
        next_batch_id: int = 0,
        is_replacement: bool = False,
    ) -> Equipment:
        rule = make_stage_rule(config, scenario.seed + index)
        is_unlocked = index > 0 and scenario.is_unlocked
        seat = Seat(welcome, config, index, None, None)
        feed = _Feed(seat, scenario, ledger) if index == 0 or is_unlocked else None
        machine = make_stage_machine(
            config,
            rule,
            stage=index,
            num_stages=welcome.num_stages,
            num_batches=None if feed is None else feed.num_batches,
            start=start,
            next_batch_id=next_batch_id,
            is_replacement=is_replacement,
        )
        if feed is not None:
            feed.machine = machine
        has_boundary = index < welcome.num_stages - 1 and rule.needs_synthesizer
        stage: Any = _Stage(seat, machine, scenario, ledger)
        inputs: Any = feed
        boundary: Any = _Boundary() if has_boundary else None
        synthesizer: Any = _InputSynthesizer() if is_unlocked else None

        def remake(welcome: Any) -> Any:
            other: Any = _Stage(Seat(welcome, config, index, None, None), machine, scenario, ledger)
            other._last = stage._last
            return other, _Boundary() if has_boundary else None

        equipment = Equipment(machine, rule, stage, _staging(), boundary, inputs, synthesizer)
        equipment.remake = remake
        return equipment

    return equip


@cache
def _staging() -> Staging:
    return Staging("cpu")


@cache
def _layers(first: int, end: int) -> nn.Sequential:
    """Those that have weights, under their names in the whole network."""
    named = {str(layer): nn.Linear(1, 1, bias=False) for layer in range(first, end)}
    return nn.Sequential(OrderedDict(named))
