"""A line of stages as a discrete-event simulation: no torch, no sockets, no clock.

What it keeps of the real system: a stage is sequential and takes up a batch only while its outbox
has a free place; it sends after its forward, then updates, then gives the place below back; an
anchor keeps its place until its gradient has come down from the head; gradients go before
batches. What it leaves out: a core is held for a whole turn (no time slices), and links do not
take cores (add what a message costs to the stages' seconds).
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

__all__ = ["Line", "LinkCost", "Outcome", "StageCost", "simulate", "slowed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """Seconds of one core for one batch.

    forward_s: until the activation is sent. update_s: from there until the place below is free.
    For an anchor instead, head_start_s: from there until its gradient is awaited; anchor_s: once
    the gradient is there (the head has it at once), until that of the input is sent down.
    learn_s: after that.
    """

    forward_s: float
    update_s: float
    head_start_s: float = 0.0
    anchor_s: float = 0.0
    learn_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCost:
    """One boundary's way up, and the same down. A credit takes the latency alone."""

    latency_s: float = 0.0
    size_bytes: int = 0
    bytes_per_s: float = math.inf

    @property
    def transfer_s(self) -> float:
        """How long one tensor occupies the link."""
        return self.size_bytes / self.bytes_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Stages from source to head, the link above each but the last, and what they share.

    cores None: one for each stage. anchor_every 0: no anchors; else every so many batches, the
    first one included.
    """

    stages: Sequence[StageCost]
    links: Sequence[LinkCost]
    window: int
    cores: int | None = None
    anchor_every: int = 0

    def __post_init__(self) -> None:
        if not self.stages or len(self.links) != len(self.stages) - 1 or self.window < 1:
            raise ValueError(
                f"{len(self.stages)} stages, {len(self.links)} links, window {self.window}"
            )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulated line did.

    seconds: from the head's end of the warm-up (0 without one) to its end of the last batch;
    num_batches: those in between. busy: each stage's share of the time from its own beginning of
    the first batch that counts to its end of the last one. max_in_flight: most batches that the
    source had begun and the head not finished. max_pending: most activations in flight in each
    stage's outbox.
    """

    seconds: float
    num_batches: int
    busy: tuple[float, ...]
    max_in_flight: int
    max_pending: tuple[int, ...]

    @property
    def batches_per_second(self) -> float:
        """At the head."""
        return self.num_batches / self.seconds if self.seconds > 0 else math.inf


def slowed(line: Line, stage: int, factor: float) -> Line:
    """line with one stage that takes factor times as long for everything."""
    cost = line.stages[stage]
    slow = StageCost(
        forward_s=cost.forward_s * factor,
        update_s=cost.update_s * factor,
        head_start_s=cost.head_start_s * factor,
        anchor_s=cost.anchor_s * factor,
        learn_s=cost.learn_s * factor,
    )
    return replace(line, stages=[*line.stages[:stage], slow, *line.stages[stage + 1 :]])


def simulate(line: Line, num_batches: int, *, warmup: int = 0) -> Outcome:
    """Send num_batches through line; count from the head's warmup-th finished batch on."""
    if not 0 <= warmup < num_batches:
        raise ValueError(f"warm-up of {warmup} of {num_batches} batches")
    return _Simulation(line, num_batches, warmup).run()


# Kinds of events, by the handler that each has.
_ARRIVED, _CREDITED, _RETURNED, _FORWARDED, _UPDATED, _ANCHORED, _LEARNT, _PREPARED = range(8)


class _Simulation:
    """Events in order of time; ties in the order in which they were made."""

    def __init__(self, line: Line, num_batches: int, warmup: int) -> None:
        count = len(line.stages)
        self._line = line
        self._num_batches, self._warmup = num_batches, warmup
        self._head = count - 1
        self._now = 0.0
        self._events: list[tuple[float, int, int, int, int]] = []
        self._made = 0
        self._free_cores = count if line.cores is None else line.cores
        self._waiting: deque[int] = deque()  # stages that want a core, in order of asking
        self._is_idle = [True] * count
        self._inputs: list[deque[int]] = [deque() for _ in range(count)]
        self._gradients: list[deque[int]] = [deque() for _ in range(count)]
        self._pending, self._max_pending = [0] * count, [0] * count
        self._up_free_at, self._down_free_at = [0.0] * count, [0.0] * count
        self._finished = self._max_in_flight = 0
        self._warm_at, self._end = 0.0, math.inf  # at the head
        self._num_begun = [0] * count
        self._counts_from = [math.inf] * count  # at each stage
        self._counts_to = [math.inf] * count
        self._busy = [0.0] * count

    def run(self) -> Outcome:
        """Until every batch, credit and gradient has arrived."""
        handlers = (
            self._arrived,
            self._credited,
            self._returned,
            self._forwarded,
            self._updated,
            self._anchored,
            self._learnt,
            self._prepared,
        )
        self._offer(0)
        while self._events:
            self._now, _, kind, stage, batch = heapq.heappop(self._events)
            handlers[kind](stage, batch)
        spans = zip(self._busy, self._counts_from, self._counts_to, strict=True)
        return Outcome(
            seconds=self._end - self._warm_at,
            num_batches=self._num_batches - self._warmup,
            busy=tuple(busy / (end - began) if end > began else 0.0 for busy, began, end in spans),
            max_in_flight=self._max_in_flight,
            max_pending=tuple(self._max_pending),
        )

    # --- cores: a stage asks, gets one, does one piece of work, gives it back ------------------

    def _offer(self, stage: int) -> None:
        """Let stage ask for a core if it has something to do."""
        if self._is_idle[stage] and (self._gradients[stage] or self._may_take_up(stage)):
            self._is_idle[stage] = False
            self._waiting.append(stage)
            self._assign()

    def _may_take_up(self, stage: int) -> bool:
        if stage < self._head and self._pending[stage] >= self._line.window:
            return False
        return bool(self._inputs[stage]) if stage else self._num_begun[0] < self._num_batches

    def _assign(self) -> None:
        while self._free_cores and self._waiting:
            self._free_cores -= 1
            self._begin(self._waiting.popleft())

    def _begin(self, stage: int) -> None:
        cost = self._line.stages[stage]
        if self._gradients[stage]:
            self._after(cost.anchor_s, _ANCHORED, stage, self._gradients[stage].popleft())
            return
        batch = self._inputs[stage].popleft() if stage else self._num_begun[0]
        if batch == self._warmup:
            self._counts_from[stage] = self._now
        self._num_begun[stage] += 1
        if stage == 0:
            in_flight = self._num_begun[0] - self._finished
            self._max_in_flight = max(self._max_in_flight, in_flight)
        self._after(cost.forward_s, _FORWARDED, stage, batch)

    def _rest(self, stage: int) -> None:
        """stage gives its core back; if it wants more, it stands at the end of the queue."""
        self._free_cores += 1
        self._is_idle[stage] = True
        self._offer(stage)
        self._assign()

    # --- what work ends with ------------------------------------------------------------------

    def _forwarded(self, stage: int, batch: int) -> None:
        cost = self._line.stages[stage]
        self._worked(stage, cost.forward_s)
        is_anchor = self._is_anchor(batch)
        if stage < self._head:
            self._pending[stage] += 1
            self._max_pending[stage] = max(self._max_pending[stage], self._pending[stage])
            self._transfer(self._up_free_at, stage, _ARRIVED, stage + 1, batch)
            if is_anchor:
                self._after(cost.head_start_s, _PREPARED, stage, batch)
                return
        elif is_anchor:
            self._after(cost.anchor_s, _ANCHORED, stage, batch)
            return
        self._after(cost.update_s, _UPDATED, stage, batch)

    def _prepared(self, stage: int, batch: int) -> None:
        self._worked(stage, self._line.stages[stage].head_start_s)
        self._done_with(stage, batch)
        self._rest(stage)

    def _updated(self, stage: int, batch: int) -> None:
        self._worked(stage, self._line.stages[stage].update_s)
        self._done_with(stage, batch)
        if stage:
            self._after(self._line.links[stage - 1].latency_s, _CREDITED, stage - 1, batch)
        self._rest(stage)

    def _anchored(self, stage: int, batch: int) -> None:
        cost = self._line.stages[stage]
        self._worked(stage, cost.anchor_s)
        if stage == self._head:
            self._done_with(stage, batch)
        if stage:
            self._transfer(self._down_free_at, stage - 1, _RETURNED, stage - 1, batch)
        self._after(cost.learn_s, _LEARNT, stage, batch)

    def _learnt(self, stage: int, _batch: int) -> None:
        self._worked(stage, self._line.stages[stage].learn_s)
        self._rest(stage)

    # --- what arrives --------------------------------------------------------------------------

    def _arrived(self, stage: int, batch: int) -> None:
        self._inputs[stage].append(batch)
        self._offer(stage)

    def _credited(self, stage: int, _batch: int) -> None:
        self._pending[stage] -= 1
        self._offer(stage)

    def _returned(self, stage: int, batch: int) -> None:
        self._pending[stage] -= 1
        self._gradients[stage].append(batch)
        self._offer(stage)

    # --- time ----------------------------------------------------------------------------------

    def _after(self, seconds: float, kind: int, stage: int, batch: int) -> None:
        self._made += 1
        heapq.heappush(self._events, (self._now + seconds, self._made, kind, stage, batch))

    def _transfer(
        self, free_at: list[float], link: int, kind: int, receiver: int, batch: int
    ) -> None:
        """A tensor crosses a link behind those that are on it already."""
        cost = self._line.links[link]
        free_at[link] = max(free_at[link], self._now) + cost.transfer_s
        self._after(free_at[link] - self._now + cost.latency_s, kind, receiver, batch)

    def _is_anchor(self, batch: int) -> bool:
        every = self._line.anchor_every
        return every > 0 and batch % every == 0

    def _done_with(self, stage: int, batch: int) -> None:
        """stage has done all of batch, an anchor's gradient apart."""
        if batch == self._num_batches - 1:
            self._counts_to[stage] = self._now
        if stage == self._head:
            self._finished += 1
            if self._finished == self._warmup:
                self._warm_at = self._now
            if self._finished == self._num_batches:
                self._end = self._now

    def _worked(self, stage: int, seconds: float) -> None:
        """Count the part of stage's last seconds that falls into its span."""
        began = max(self._now - seconds, self._counts_from[stage])
        self._busy[stage] += max(0.0, min(self._now, self._counts_to[stage]) - began)
