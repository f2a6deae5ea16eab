"""A whole run without processes, sockets or a clock: its machine, and workers that die."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from dni_async.decisions.words import EpochWord, KeptWords
from dni_async.launcher.decisions.actions import (
    EndRun,
    EnterEpoch,
    EnterStart,
    EnterStop,
    Note,
    RunAction,
    Send,
    SendWelcome,
    StartWorker,
)
from dni_async.launcher.decisions.events import (
    Begun,
    Heard,
    RunEvent,
    StopAsked,
    Ticked,
    WorkerExited,
    WorkerStarted,
)
from dni_async.launcher.decisions.run_machine import RunMachine
from dni_async.launcher.decisions.terms import RunTerms
from dni_async.wire.messages import (
    PROTOCOL,
    BoundaryEpoch,
    Bye,
    CoordinatorMessage,
    Drain,
    EndReached,
    EpochEntered,
    EpochLoss,
    EpochTrained,
    Evaluated,
    Hello,
    InboxMoved,
    NeighbourReplaced,
    Ready,
    Start,
    Stop,
    TellAgain,
    WorkerMessage,
)
from tests.launcher.decisions.runs import RUN, inbox, peer_of, terms, told

__all__ = ["BATCHES", "SimulatedRun"]

TICK_S = 0.1
BATCH_S = 0.05
PROGRESS_S = 0.5
MAX_S = 3000.0
BATCHES = 10  # of an epoch


@dataclass(eq=False)
class Worker:
    """One process. state: hello, welcomed, built, training, gone. listens: where the stage below is
    to connect; target: where it has sent its greeting.
    """

    stage: int
    incarnation: int
    pid: int
    listens: str
    kept: KeptWords = field(kw_only=True)
    state: str = "hello"
    target: str = ""
    has_outbox: bool = False
    is_drained: bool = False
    batches: int = 0
    heard_at: float = 0.0  # by the coordinator: words come in order
    told_at: float = 0.0  # by the coordinator
    last_said_at: float = math.inf  # what it has said since did not leave it before its death
    told_end: int = 0

    @property
    def peer(self) -> str:
        """Its connection."""
        return peer_of(self.stage, self.incarnation)


class SimulatedRun:
    """Workers shake hands, train and leave as the real ones do; some are killed at any moment.

    A batch passes while all stages train and all links are joined. The end of the run goes down
    from the head, and each stage leaves as it passes. target: the epoch that reaches it, if any.
    is_stopped: it was asked to stop, as some are, at any moment. num_early: have
    died before the start.
    """

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.stop_draw = random.Random(-seed - 1)
        draw = self.draw
        self.num_stages = draw.randint(2, 5)
        self.epochs = draw.randint(1, 5)
        self.target = draw.randint(1, 5) if draw.random() < 0.5 else 0
        self.terms: RunTerms = terms(
            self.num_stages, epochs=self.epochs, target=0.9, ends_early=True, max_restarts=99
        )
        self.machine = RunMachine(self.terms)
        self.log: list[tuple[RunEvent, list[RunAction]]] = []
        self.now = 0.0
        self.ending: EndRun | None = None
        self.workers: dict[int, Worker] = {}  # the newest of each stage
        self.has_started = self.is_stopped = False
        self.num_early = 0
        self.left: set[int] = set()
        self.entered: list[int] = []
        self.reached_at: int | None = None  # how many batches had passed then, or at a stop
        self.batches = 0
        self._pids = itertools.count(100)
        self._count = itertools.count()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []

    def run(self) -> None:
        """To its end."""
        self.hear(Begun(self.now))
        self.at(0.0, self.tick)
        self.at(0.0, self.step)
        self.at(PROGRESS_S, self.report)
        self.plan_deaths()
        self.plan_stop()
        while self.ending is None:
            self.now, _, what = heapq.heappop(self._queue)
            assert self.now < MAX_S, "somebody waits for ever"
            what()

    def plan_deaths(self) -> None:
        """At any moment of a run as long as this one would be without; neighbours together too."""
        training_s = (self.epochs if not self.target else self.target) * BATCHES * BATCH_S
        for _ in range(self.draw.randint(0, 5)):
            begin_s = 0.0 if self.draw.random() < 0.3 else 1.2
            when = begin_s + self.draw.random() * (training_s + 1.5)
            first = self.draw.randrange(self.num_stages)
            together = self.draw.choice((1, 1, 1, 2, 3))
            for stage in range(first, min(first + together, self.num_stages)):
                self.at(when, lambda stage=stage: self.kill(stage))  # type: ignore[misc]

    def plan_stop(self) -> None:
        """In one of four runs."""
        if self.stop_draw.random() < 0.25:
            when = self.stop_draw.random() * (1.5 + self.epochs * BATCHES * BATCH_S)
            self.at(when, lambda: self.hear(StopAsked(self.now, "enough")))

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Have it happen then."""
        heapq.heappush(self._queue, (when, next(self._count), what))

    def soon(self, what: Callable[[], None], most_s: float = 0.2) -> None:
        """Have it happen after a while."""
        self.at(self.now + self.draw.random() * most_s, what)

    # --- the coordinator ---------------------------------------------------------------------

    def tick(self) -> None:
        """As its loop goes round."""
        self.hear(Ticked(self.now))
        self.at(self.now + TICK_S, self.tick)

    def hear(self, event: RunEvent) -> None:
        """Have the machine decide, and do that."""
        actions = self.machine.handle(event)
        self.log.append((event, actions))
        is_killed = isinstance(event, WorkerExited) and event.code < 0
        self.num_early += is_killed and not self.has_started
        self.has_started |= any(isinstance(action, EnterStart) for action in actions)
        for action in actions:
            self.perform(action)

    def perform(self, action: RunAction) -> None:
        """What the machine decides."""
        match action:
            case StartWorker(stage=stage, incarnation=incarnation):
                self.soon(lambda: self.fork(stage, incarnation))
            case Send(peer=peer, message=message):
                self.tell(peer, lambda worker: self.take(worker, message))
            case SendWelcome(peer=peer, above=above):
                self.tell(peer, lambda worker: self.welcome(worker, above))
            case EnterEpoch(epoch=epoch):
                self.entered.append(epoch.epoch)
            case Note(text=text):
                if "is reached" in text:
                    self.reached_at = self.batches
            case EnterStop():
                assert self.reached_at is None
                self.reached_at = self.batches
                self.is_stopped = True
            case EndRun():
                self.ending = action

    def tell(self, peer: str, what: Callable[[Worker], None]) -> None:
        """A word goes to the worker of that connection, if it is there; in order."""
        worker = next((each for each in self.workers.values() if each.peer == peer), None)
        if worker is not None and worker.state != "gone":
            worker.told_at = max(worker.told_at, self.now + self.draw.random() * 0.1)
            self.at(worker.told_at, lambda: what(worker))

    # --- processes ---------------------------------------------------------------------------

    def fork(self, stage: int, incarnation: int) -> None:
        """A process begins."""
        kept = KeptWords(stage, self.num_stages, self.epochs)
        listens = inbox(stage, incarnation)
        worker = Worker(stage, incarnation, next(self._pids), listens, kept=kept)
        self.workers[stage] = worker
        self.hear(WorkerStarted(self.now, stage, worker.pid))
        said = Hello(PROTOCOL, RUN, stage, worker.pid, "host", worker.listens, incarnation)
        self.soon(lambda: self.say(worker, said), 0.4)

    def kill(self, stage: int) -> None:
        """A process ends at once; some of what it has said is still under way, some is lost."""
        worker = self.workers.get(stage)
        if worker is not None and worker.state != "gone":
            worker.last_said_at = self.now + self.draw.random() * 0.1
            self.end(worker, -9)

    def end(self, worker: Worker, code: int) -> None:
        """A process has ended."""
        worker.state = "gone"
        name = "SIGKILL" if code < 0 else ""
        stage, pid = worker.stage, worker.pid
        self.soon(lambda: self.hear(WorkerExited(self.now, stage, pid, code, name, "log", "")))

    def say(self, worker: Worker, message: WorkerMessage) -> None:
        """A worker that lives sends a word; words of one worker come in order."""
        if worker.state == "gone":
            return
        worker.heard_at = max(worker.heard_at, self.now + self.draw.random() * 0.1)
        self.at(worker.heard_at, lambda: self.arrive(worker, message))

    def arrive(self, worker: Worker, message: WorkerMessage) -> None:
        """The coordinator hears it, if it left the worker."""
        if self.now <= worker.last_said_at:
            self.hear(Heard(self.now, worker.peer, message))

    def tell_epoch(self, worker: Worker, word: EpochWord) -> None:
        """Tell of an epoch; the witness knows of it first."""
        worker.kept.say(word)
        side = worker.kept.witness_side
        witness = self.workers[worker.stage + (1 if side == "above" else -1)]
        witness.kept.hear(word, "below" if side == "above" else "above")
        self.say(worker, word)

    def take_over(self, worker: Worker) -> None:
        """Neighbours that train tell a new worker what they keep, and it says what is its own."""
        worker.state = "training"
        for side, other in (("below", worker.stage - 1), ("above", worker.stage + 1)):
            neighbour = self.workers.get(other)
            if not worker.incarnation or neighbour is None or neighbour.state != "training":
                continue
            words = neighbour.kept.hand_over("above" if side == "below" else "below")
            for word in words:
                again = worker.kept.hear(word, side)  # type: ignore[arg-type]
                if again is not None:
                    self.say(worker, again)

    # --- workers -----------------------------------------------------------------------------

    def welcome(self, worker: Worker, above: str) -> None:
        """A worker greets the one above."""
        if worker.state != "gone":
            worker.state, worker.target = "welcomed", above

    def take(self, worker: Worker, message: CoordinatorMessage) -> None:
        """What a worker does at a word of the coordinator's."""
        if worker.state == "gone":
            return
        match message:
            case Start():
                self.take_over(worker)
            case EpochEntered(epoch=epoch):
                worker.kept.enter(epoch)
            case TellAgain(epoch=epoch):
                for word in worker.kept.again(RUN, epoch):
                    self.say(worker, word)
            case Stop():
                self.end(worker, 0)
            case Drain():
                assert worker.stage == 0
                assert worker.state in ("built", "training")
                worker.is_drained = True
            case NeighbourReplaced(side="above", endpoint=endpoint):
                worker.target = endpoint
            case NeighbourReplaced(side="below", incarnation=incarnation):
                worker.listens = f"{inbox(worker.stage, worker.incarnation)},{incarnation}"
                moved = InboxMoved(RUN, worker.stage, incarnation, worker.listens)
                self.say(worker, moved)

    def step(self) -> None:
        """Everybody does what can be done; a batch passes, or the end of the run."""
        for worker in list(self.workers.values()):
            self.shake_hands(worker)
        if len(self.workers) == self.num_stages:
            self.advance()
        self.at(self.now + BATCH_S, self.step)

    def shake_hands(self, worker: Worker) -> None:
        """Greet upwards first, then be greeted from below, then build."""
        if worker.state != "welcomed":
            return
        above, below = self.workers.get(worker.stage + 1), self.workers.get(worker.stage - 1)
        if not worker.has_outbox:
            answers = above is not None and above.state != "gone" and above.has_outbox
            is_there = answers and above is not None and above.listens == worker.target
            worker.has_outbox = not worker.target or is_there
            return
        is_greeted = below is not None and below.state != "gone" and below.target == worker.listens
        if worker.stage == 0 or is_greeted:
            worker.state = "built"
            self.say(worker, Ready(RUN, worker.stage))

    def advance(self) -> None:
        """The line comes on, as far as it is whole."""
        line = [self.workers[stage] for stage in range(self.num_stages)]
        staying = [worker for worker in line if worker.stage not in self.left]
        if not staying or any(worker.state != "training" for worker in staying):
            return
        for lower, upper in itertools.pairwise(staying):
            if lower.target != upper.listens:
                return
        is_over = self.batches == self.epochs * BATCHES or line[0].is_drained or self.left
        tested = self.batches // BATCHES
        if is_over and not self.left and line[0].kept.entered < tested:
            if line[0].told_end < tested:
                line[0].told_end = tested
                self.say(line[0], EndReached(RUN, tested))
            return
        if is_over:
            last = staying[-1]
            self.say(last, Bye(RUN, last.stage))
            self.left.add(last.stage)
            self.end(last, 0)
            return
        self.batches += 1
        for worker in line:
            worker.batches += 1
        if self.batches % BATCHES == 0:
            self.end_epoch(line, self.batches // BATCHES)

    def end_epoch(self, line: list[Worker], epoch: int) -> None:
        """All tell of it."""
        accuracy = 0.95 if self.target and epoch >= self.target else 0.5
        self.tell_epoch(line[0], EpochTrained(RUN, epoch, 1.0))
        self.tell_epoch(line[-1], EpochLoss(RUN, epoch, 0.5, 100))
        self.tell_epoch(line[-1], Evaluated(RUN, epoch, 0.5, {"accuracy": accuracy}, 2))
        for worker in line[:-1]:
            said = BoundaryEpoch(RUN, worker.stage, epoch, 0, 0.0, 0.0, 0.0, 0, 0)
            self.tell_epoch(worker, said)

    def report(self) -> None:
        """Whoever trains tells how far it is."""
        for worker in self.workers.values():
            if worker.state == "training":
                said = told(worker.stage, updates=worker.batches, next_batch_id=self.batches)
                self.say(worker, dataclasses.replace(said, run_id=RUN))
        self.at(self.now + PROGRESS_S, self.report)
