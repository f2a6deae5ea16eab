"""What the run's machine knows: who hosts which stage, which stages are vacant, how far it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

from dni_async.decisions.goal import Outlook
from dni_async.errors import HandshakeError
from dni_async.launcher.decisions.actions import Note, RunAction, Send
from dni_async.launcher.decisions.epochs import OpenEpochs
from dni_async.launcher.decisions.joined.actors import Actors
from dni_async.launcher.decisions.joined.joiners import JoinedWorkers
from dni_async.launcher.decisions.known.choosing import LayerWork
from dni_async.launcher.decisions.known.moves import AskedMove, Balance, Moves
from dni_async.launcher.decisions.known.pace import Paces
from dni_async.launcher.decisions.known.silence import LEAST_S, TCP_LEAST_S, Silence
from dni_async.launcher.decisions.known.source_clock import SourceClock
from dni_async.launcher.decisions.terms import RunTerms
from dni_async.wire.messages import PROTOCOL, CoordinatorMessage, Hello, InboxMoved, Progress

__all__ = ["Cause", "Roster", "RunState", "Vacancies", "Vacancy"]

BACK_OFF_S = 0.5  # a stage whose replacement made no update waits so long, then twice as long
MAX_BACK_OFF_S = 8.0
MAX_REFUSED = 32  # peers whose mistakes are told


@dataclass(slots=True)
class Roster:
    """The workers of a run of num_stages stages, by stage.

    may_be_near: those in the same place talk by what they share; else over tcp too. peers: the
    connections that they are reached by. alive: the processes of this host, stages by pid. left:
    said Bye. incarnations: of those that are awaited, or were seated, after the first.
    """

    num_stages: int
    run_id: str
    may_be_near: bool = True
    pids: dict[int, int] = field(default_factory=dict)
    hellos: dict[int, Hello] = field(default_factory=dict)
    peers: dict[int, str] = field(default_factory=dict)
    alive: dict[int, int] = field(default_factory=dict)
    ready: set[int] = field(default_factory=set)
    left: set[int] = field(default_factory=set)
    incarnations: dict[int, int] = field(default_factory=dict)

    def admit(self, hello: Hello) -> None:
        """Enter a worker. Raises HandshakeError if it does not belong to this run."""
        if hello.protocol != PROTOCOL:
            raise HandshakeError(
                f"stage {hello.stage} speaks protocol {hello.protocol}, this launcher {PROTOCOL}"
            )
        if hello.run_id != self.run_id:
            raise HandshakeError(f"stage {hello.stage} belongs to another run")
        if not hello.stage < self.num_stages:
            raise HandshakeError(f"stage {hello.stage} of {self.num_stages} does not exist")
        awaited = self.incarnations.get(hello.stage, 0)
        if hello.incarnation != awaited:
            raise HandshakeError(
                f"stage {hello.stage} is awaited in incarnation {awaited}, not {hello.incarnation}"
            )
        if hello.stage in self.hellos:
            raise HandshakeError(f"stage {hello.stage} said Hello twice")
        self.hellos[hello.stage] = hello
        self.pids[hello.stage] = hello.pid

    def vacate(self, stage: int, incarnation: int) -> None:
        """The stage's worker has died; that incarnation is to take its place."""
        self.incarnations[stage] = incarnation
        self.hellos.pop(stage, None)
        self.ready.discard(stage)

    @property
    def all_admitted(self) -> bool:
        """Everybody said Hello."""
        return len(self.hellos) == self.num_stages

    @property
    def all_ready(self) -> bool:
        """Everybody said Ready."""
        return len(self.ready) == self.num_stages

    @property
    def all_left(self) -> bool:
        """Everybody said Bye."""
        return len(self.left) == self.num_stages

    def peer_of(self, stage: int) -> str:
        """The inbox that stage sends to: the stage above's, empty for the head."""
        if stage + 1 == self.num_stages:
            return ""
        own, above = self.hellos[stage], self.hellos[stage + 1]
        is_near = self.may_be_near and above.near and own.place == above.place
        return above.near if is_near else above.endpoint

    def key_of(self, stage: int) -> str:
        """What that inbox is known by: nobody is told but stage."""
        return "" if stage + 1 == self.num_stages else self.hellos[stage + 1].key

    def move(self, message: InboxMoved) -> None:
        """A stage has a new inbox, if its worker is still there."""
        hello = self.hellos.get(message.stage)
        if hello is not None:
            self.hellos[message.stage] = dataclasses.replace(
                hello, endpoint=message.endpoint, near=message.near, key=message.key
            )

    @property
    def awaited(self) -> list[int]:
        """The stages that keep the run from starting: their Hello is awaited, then their Ready."""
        there: Iterable[int] = self.ready if self.all_admitted else self.hellos
        return [stage for stage in range(self.num_stages) if stage not in there]

    def missing(self) -> str:
        """Who keeps the run from starting, and what is awaited from them."""
        what = "Ready" if self.all_admitted else "Hello"
        names = ", ".join(
            f"stage {stage} (pid {self.pids[stage]})" if stage in self.pids else f"stage {stage}"
            for stage in self.awaited
        )
        return f"{what} from {names}"


@dataclass(slots=True)
class Vacancy:
    """A stage whose worker has died, until its replacement trains.

    incarnation: of the replacement. died_at, begins_at: when, in seconds of the caller's clock.
    why, code: of the death, and the run's exit code if that ends it. has_inbox: the stage above has
    opened one for this incarnation. is_leaving: was asked to, before it was ready. is_met: the
    inbox of the worker that is there was told to another one below that is to take its place.
    """

    stage: int
    incarnation: int
    died_at: float
    begins_at: float
    why: str
    code: int
    is_asked: bool = False
    is_welcomed: bool = False
    is_leaving: bool = False
    has_inbox: bool = False
    is_met: bool = False


class Vacancies:
    """The vacancies of a run in which workers may be replaced max_restarts times in all.

    open: by stage, no replacement is ready yet. untried: it is, but has made no update yet.
    deaths: why, of each that counts.
    """

    def __init__(self, max_restarts: int) -> None:
        self.max_restarts = max_restarts
        self.open: dict[int, Vacancy] = {}
        self.untried: dict[int, Vacancy] = {}
        self.deaths: list[str] = []
        self._incarnations: dict[int, int] = {}
        self._delays: dict[int, float] = {}  # of the stage's last replacement

    @property
    def are_used_up(self) -> bool:
        """Whether no more workers are replaced."""
        return len(self.deaths) >= self.max_restarts

    def incarnation(self, stage: int) -> int:
        """Of the worker that hosts the stage, or is to."""
        return self._incarnations.get(stage, 0)

    def lose(self, stage: int, now: float, why: str, code: int = 1) -> Vacancy:
        """The stage's worker has died: a vacancy, to be filled at once or after a while."""
        self.deaths.append(why)
        earlier = self.open.get(stage) or self.untried.pop(stage, None)
        delay_s = self._delay_s(stage, has_failed=earlier is not None)
        vacancy = self._vacate(stage, now, now + delay_s, why, code)
        if earlier is not None:
            vacancy.died_at = earlier.died_at  # the stage has not trained since
        return vacancy

    def begin_again(self, stage: int, now: float) -> Vacancy:
        """A replacement that was not ready yet had to leave, for a neighbour died meanwhile."""
        earlier = self.open[stage]
        vacancy = self._vacate(stage, now, now, earlier.why, earlier.code)
        vacancy.died_at = earlier.died_at
        return vacancy

    def fill(self, stage: int) -> Vacancy:
        """The replacement is ready."""
        vacancy = self.untried[stage] = self.open.pop(stage)
        return vacancy

    def succeed(self, stage: int) -> int:
        """The stage's next incarnation."""
        self._incarnations[stage] = self.incarnation(stage) + 1
        return self._incarnations[stage]

    def _vacate(self, stage: int, now: float, begins_at: float, why: str, code: int) -> Vacancy:
        vacancy = Vacancy(stage, self.succeed(stage), now, begins_at, why, code)
        self.open[stage] = vacancy
        return vacancy

    def _delay_s(self, stage: int, *, has_failed: bool) -> float:
        """0; longer each time for a stage whose replacement has_failed to make an update."""
        longer_s = min(max(2 * self._delays.get(stage, 0.0), BACK_OFF_S), MAX_BACK_OFF_S)
        self._delays[stage] = longer_s if has_failed else 0.0
        return self._delays[stage]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the run ends, or a worker is replaced.

    stage, exit_code: the worker's, and how its process ended. code: the run's. text: the user's
    last lines. deadline: until when the worker's own words may still arrive. is_told: these are its
    own words.
    """

    stage: int
    exit_code: int
    code: int
    text: str
    deadline: float
    is_told: bool = False


class RunState:
    """All that is known of one run; the functions beside this module read it and change it.

    now: the time of the event that is being handled. waiting_since: since when the run waits for
    Hello, or once it is_welcoming, for Ready; started_at: when all began, None before. passed: the
    source has said that all epochs up to there are over. cause: why the run is about to end;
    unexplained: by stage, processes that ended with a code and no word. is_draining: the source is
    to end early, whoever hosts it. killed: pids that were stuck, with the seconds of that.
    """

    def __init__(self, terms: RunTerms) -> None:
        self.terms = terms
        self.roster = Roster(terms.num_stages, terms.run_id, may_be_near=terms.may_be_near)
        self.joined = JoinedWorkers(terms.num_stages, terms.silent_after_s)
        self.actors = Actors()
        self.vacancies = Vacancies(terms.max_restarts)
        self.silence = Silence(terms.stuck_after_s, TCP_LEAST_S if terms.over_tcp else LEAST_S)
        layers = terms.layers or [(stage, stage + 1) for stage in range(terms.num_stages)]
        asked = [
            AskedMove(batch_id, tuple((first, end) for first, end in each))
            for batch_id, each in terms.moves
        ]
        self.moves = Moves(layers, asked)
        self.balance: Balance | None = None
        if terms.layer_costs:
            work = LayerWork(terms.layer_costs, terms.may_end)
            self.balance = Balance(work, Paces(terms.num_stages))
        self.source = SourceClock(terms.tested_at)
        self.epochs = OpenEpochs(
            terms.num_stages,
            next_of=terms.next_tested,
            last=terms.last_epoch,
            seconds_of=lambda epoch: self.source.whole_s(epoch, 0.0),
            cores=terms.cores,
        )
        self.passed = 0
        self.progress: dict[int, Progress] = {}
        self.updates_at_start: dict[int, int] = {}  # of replacements, by stage
        self.last_epoch = terms.last_epoch
        self.outlook = Outlook(terms.goal, terms.best, terms.best_epoch)
        self.now = 0.0
        self.waiting_since = 0.0
        self.is_welcoming = False
        self.next_nag = 0.0
        self.next_beat = 0.0
        self.started_at: float | None = None
        self.has_all_updates = False
        self.cause: Cause | None = None
        self.unexplained: dict[int, Cause] = {}
        self.is_draining = False
        self.killed: dict[int, float] = {}
        self.num_refused = 0
        self._refused: set[str] = set()

    @property
    def has_started(self) -> bool:
        """Whether all workers were told to begin."""
        return self.started_at is not None

    @property
    def since_start_s(self) -> float:
        """Seconds since all began."""
        return 0.0 if self.started_at is None else self.now - self.started_at

    @property
    def training(self) -> set[int]:
        """Stages whose workers are to be heard twice a second."""
        return self.roster.ready - self.roster.left if self.has_started else set()

    def send(self, stage: int, message: CoordinatorMessage) -> list[RunAction]:
        """To the worker of stage, if that is there."""
        peer = self.roster.peers.get(stage)
        return [] if peer is None else [Send(peer, message)]

    def device(self, stage: int) -> str:
        """What the stage computes on."""
        host = self.joined.host_of(stage)
        return self.terms.devices[stage] if host is None else host.join.device

    def refuse(self, peer: str, text: str) -> list[RunAction]:
        """Peer gave cause for a sentence; it is told once for each, and for so many peers."""
        self.num_refused += 1
        if peer in self._refused or len(self._refused) >= MAX_REFUSED:
            return []
        self._refused.add(peer)
        return [Note(text)]
