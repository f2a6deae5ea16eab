"""A whole line of stages in one process, turn by turn, without sockets, clock or processes.

Everything is what a worker runs: its machine, its stage, its performer and its loop. Only the
transport is the in-memory twin, and whoever calls gives the turns and plays the coordinator. So a
run is the same each time, in whatever order its turns are given.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress

import torch
from torch import nn

from dni_async.config.extensions import is_extension
from dni_async.config.run_config import RunConfig
from dni_async.data.feed import Feed
from dni_async.data.opening import open_feed
from dni_async.errors import LinkError
from dni_async.network.building import build_network, layer_starts
from dni_async.network.partition import split_layers
from dni_async.transport.in_memory import CoordinatorEnd, InMemoryTransport
from dni_async.transport.link import Link, open_inbox, open_outbox
from dni_async.wire.counters import Counters
from dni_async.wire.messages import (
    EndReached,
    EpochEntered,
    EpochLoss,
    Evaluated,
    Message,
    Progress,
    Welcome,
)
from dni_async.wire.points import Point
from dni_async.workers.reporting.spans import KeptSpans, Span
from dni_async.workers.startup.connections import Connections
from dni_async.workers.startup.equipment import Equipment, equip
from dni_async.workers.startup.seat import Seat
from dni_async.workers.training.loop import Outcome, WorkerLoop

__all__ = ["RUN_ID", "Equipment", "InMemoryLine", "Part", "Span", "build_line", "endpoint_of"]

RUN_ID = "in-memory"
TICK_S = 0.01  # of the clock, each time that anybody looks at it

Ranges = Sequence[tuple[int, int]]
Adapt = Callable[[int, Equipment], Equipment]


@dataclasses.dataclass(slots=True)
class Part:
    """One stage of a line: what it is told, and what it works with.

    random_state: of torch's generator, which in a process of its own would be the stage's alone.
    """

    welcome: Welcome
    equipment: Equipment
    random_state: torch.Tensor = dataclasses.field(default_factory=torch.get_rng_state)


@dataclasses.dataclass(slots=True)
class _Member:
    """A part's loop, and the other end of its control channel."""

    part: Part
    loop: WorkerLoop
    coordinator: CoordinatorEnd
    outcome: Outcome = "worked"


class InMemoryLine:
    """Stages from source to head, joined by links.

    told: what each stage has told the coordinator, in order, but for its counters. counters: of
    each stage, as told last; longest_s: so too, see Progress; points: all that it told.
    """

    def __init__(self, config: RunConfig, parts: Sequence[Part]) -> None:
        self.config = config
        self.told: list[tuple[int, Message]] = []
        self.counters: dict[int, Counters] = {}
        self.longest_s: dict[int, float] = {}
        self.points: dict[int, list[Point]] = defaultdict(list)
        self._transport = InMemoryTransport()
        ticks = itertools.count()
        self._clock = lambda: next(ticks) * TICK_S
        inboxes: list[Link | None] = [None]
        for stage in range(1, len(parts)):
            inboxes.append(open_inbox(self._transport, endpoint_of(stage)))
        self._members = [self._seat(stage, part, inboxes) for stage, part in enumerate(parts)]
        for stage, member in enumerate(self._members):
            with self._as_member(stage):
                member.loop.begin()

    @property
    def equipments(self) -> list[Equipment]:
        """What each stage works with."""
        return [member.part.equipment for member in self._members]

    @property
    def is_finished(self) -> bool:
        """Whether every stage has drained and said goodbye."""
        return all(member.outcome == "finished" for member in self._members)

    @property
    def losses(self) -> list[float]:
        """The mean training loss of each epoch that has been told so far."""
        return [message.loss for _, message in self.told if isinstance(message, EpochLoss)]

    @property
    def accuracies(self) -> list[float]:
        """The test accuracy of each epoch that has been tested so far."""
        tests = [message for _, message in self.told if isinstance(message, Evaluated)]
        return [test.metrics["accuracy"] for test in tests]

    def spans(self, stage: int) -> Sequence[Span]:
        """With profile: what the stage did and when, in order."""
        spans = self._members[stage].loop.instruments.spans
        return spans.kept if isinstance(spans, KeptSpans) else ()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The weights of the whole network, by the names of the plain one."""
        layers = [equipment.stage.layers for equipment in self.equipments]
        return {name: value for each in layers for name, value in each.state_dict().items()}

    def send(self, stage: int, message: Message) -> None:
        """Have a stage receive an order of the coordinator's."""
        self._members[stage].coordinator.send(message)

    def step(self, stage: int) -> Outcome:
        """Give a stage one turn: it hears what has come and does one thing, if it can."""
        member = self._members[stage]
        if member.outcome == "finished":
            return "finished"
        with self._as_member(stage):
            member.outcome = member.loop.step()
            if member.outcome == "finished":
                member.loop.end()
        return member.outcome

    def run(self, draw: random.Random | None = None) -> None:
        """Give turns until all have finished; see turns."""
        for _ in self.turns(draw):
            pass

    def turns(self, draw: random.Random | None = None) -> Iterator[tuple[int, Message]]:
        """Give turns until all have finished: in order from the source on, or as draw has it.

        Gives what is told, and by which stage, as soon as it is. With draw each stage has a speed
        of its own, from one turn in thirty. Raises LinkError when the line stands still: nobody
        has anything to do, and somebody has not finished.
        """
        order = itertools.cycle(range(len(self._members))) if draw is None else self._drawn(draw)
        idle: set[int] = set()
        while not self.is_finished:
            stage, num_told = next(order), len(self.told)
            was_finished = self._members[stage].outcome == "finished"
            does_nothing = self.step(stage) == "idle" or was_finished
            idle = {*idle, stage} if does_nothing else set()
            if len(idle) == len(self._members):
                raise LinkError(f"the line stands still: {[m.outcome for m in self._members]}")
            yield from self.told[num_told:]

    def _drawn(self, draw: random.Random) -> Iterator[int]:
        """Stages at random speeds."""
        speeds = [draw.choice((1, 3, 30)) for _ in self._members]
        while True:
            yield draw.choices(range(len(speeds)), speeds)[0]

    def _seat(self, stage: int, part: Part, inboxes: Sequence[Link | None]) -> _Member:
        """A worker for the stage, joined to the one above."""
        config, name = self.config, f"stage-{stage}".encode()
        control = self._transport.control_client("memory://coordinator", name)
        connections = Connections(self._transport, control, self._transport.waiting())
        outbox, above = None, inboxes[stage + 1] if stage + 1 < len(inboxes) else None
        if above is not None:
            omits_zeros = config.wire_zeros == "omit"
            outbox = open_outbox(self._transport, above.endpoint, omits_zeros=omits_zeros)
        seat = Seat(part.welcome, config, stage, inboxes[stage], outbox)
        loop = WorkerLoop(seat, part.equipment, connections, clock=self._clock)
        return _Member(part, loop, self._transport.coordinator[name])

    @contextmanager
    def _as_member(self, stage: int) -> Iterator[None]:
        """Draw at random as this stage would, and hear what it tells."""
        member, outer = self._members[stage], torch.get_rng_state()
        torch.set_rng_state(member.part.random_state)
        try:
            yield
        finally:
            member.part.random_state = torch.get_rng_state()
            torch.set_rng_state(outer)
            for message in member.coordinator.receive():
                if isinstance(message, EndReached):  # all that was told is heard here
                    member.coordinator.send(EpochEntered(RUN_ID, message.epoch))
                    member.outcome = "worked"
                elif isinstance(message, Progress):
                    self.counters[stage] = message.counters
                    self.longest_s[stage] = message.longest_s
                    self.points[stage] += message.points
                else:
                    self.told.append((stage, message))


def endpoint_of(stage: int) -> str:
    """Where a stage of a line listens for the one below."""
    return f"memory://stage-{stage}"


def build_line(
    config: RunConfig, *, ranges: Ranges | None = None, adapt: Adapt | None = None
) -> InMemoryLine:
    """The run that config describes: its network, its data, its stages.

    ranges: of layers, one for each stage; where there are none, they are dealt out evenly.

    As in workers, each stage draws at random from a seed of its own, and denormals are flushed, in
    this whole process from now on. adapt: gives a stage's equipment, changed. Raises DataError,
    ConfigError.
    """
    parts = []
    for stage, welcome in enumerate(_welcomes(config, ranges)):
        with torch.random.fork_rng(devices=[]):
            equipment = equip(stage, welcome, config, fetches="in turn")
            if adapt is not None:
                equipment = adapt(stage, equipment)
            parts.append(Part(welcome, equipment))
    return InMemoryLine(config, parts)


def _welcomes(config: RunConfig, ranges: Ranges | None) -> Iterator[Welcome]:
    """What each stage is told by a coordinator."""
    with closing(open_feed(config, fetches="here")) as feed:
        facts, (num_train_batches, num_test_batches) = feed.facts, feed.num_batches
        form = facts.form
        network = build_network(config, facts.input_shape, form.output_shape)
        output_shape = _output_shape(config, network, feed)
    form = facts.form_by(output_shape)
    if ranges is None:
        ranges = split_layers(len(layer_starts(network)), config.num_stages)
    for first, end in ranges:
        yield Welcome(
            run_id=RUN_ID,
            num_stages=len(ranges),
            first_layer=first,
            end_layer=end,
            device="cpu",
            num_threads=torch.get_num_threads(),
            peer="",
            weights_path="",
            input_shape=facts.input_shape,
            holds_ids=facts.holds_ids,
            num_classes=form.num_classes,
            num_updates=config.epochs * num_train_batches,
            config=config.to_dict(),
            target_shape=(1, *form.shape),
            target_dtype=form.dtype,
            has_ignored=form.ignored is not None,
            output_shape=(1, *output_shape),
            num_test_batches=num_test_batches,
        )


def _output_shape(config: RunConfig, network: nn.Sequential, feed: Feed) -> tuple[int, ...]:
    """Of one sample, of a network that stays as it is."""
    if config.model is not None and is_extension(config.model):
        # A network that takes other samples than the data's, which are then adapted, is not asked.
        with torch.no_grad(), torch.random.fork_rng(devices=[]), suppress(Exception):
            outputs: torch.Tensor = copy.deepcopy(network).eval()(feed.few_samples())
            return tuple(outputs.shape[1:])
    return feed.facts.form.output_shape
