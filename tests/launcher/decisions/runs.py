"""Runs as their machine sees them, made up for tests."""

from __future__ import annotations

import dataclasses
from typing import Any

from dni_async.launcher.decisions.actions import (
    EnterProgress,
    EnterStart,
    RunAction,
    Send,
    SendWelcome,
    StartWorker,
)
from dni_async.launcher.decisions.events import (
    Begun,
    Closed,
    Heard,
    RunEvent,
    Ticked,
    WorkerExited,
    WorkerStarted,
)
from dni_async.launcher.decisions.run_machine import RunMachine
from dni_async.launcher.decisions.terms import RunTerms
from dni_async.wire.counters import Work
from dni_async.wire.messages import (
    PROTOCOL,
    Bye,
    CoordinatorMessage,
    EpochEntered,
    EpochLoss,
    EpochTrained,
    Evaluated,
    Hello,
    InboxMoved,
    Join,
    Progress,
    Ready,
    Start,
    WorkerMessage,
)
from tests.launcher.told import progress

__all__ = ["RUN", "Run", "inbox", "remote", "seated", "terms", "training"]

RUN = "id-of-the-run"
BEGAN = 100.0


def terms(num_stages: int = 4, **changes: Any) -> RunTerms:
    """Of a run on this host, five epochs of two scored labels."""
    settled: dict[str, Any] = {
        "run_id": RUN,
        "rule": "dni",
        "devices": ["cpu"] * num_stages,
        "places": ["local"] * num_stages,
        "epochs": 5,
        "num_test": 2,
        "metric": "accuracy",
        "mode": "max",
        "max_restarts": 9,
        "start_timeout_s": 60.0,
        "join_timeout_s": 600.0,
        "silent_after_s": 30.0,
        "stuck_after_s": 120.0,
        "logs": "logs",
    }
    return RunTerms(**{**settled, **changes})


def inbox(stage: int, incarnation: int = 0) -> str:
    """Where that worker of the stage listens."""
    return f"ipc:///stage-{stage}.{incarnation}" if stage else ""


class Run:
    """A machine, the time, and what may happen; each gives exactly the actions it leads to."""

    def __init__(self, num_stages: int = 4, **changes: Any) -> None:
        self.terms = terms(num_stages, **changes)
        self.machine = RunMachine(self.terms)
        self.stages = range(num_stages)
        self.now = BEGAN

    def handle(self, event: RunEvent) -> list[RunAction]:
        """Whatever it is."""
        return self.machine.handle(event)

    def begin(self) -> list[RunAction]:
        """The coordinator listens."""
        return self.handle(Begun(self.now))

    def tick(self, seconds: float = 0.0) -> list[RunAction]:
        """Time goes on."""
        self.now += seconds
        return self.handle(Ticked(self.now))

    def hear(self, peer: str, message: WorkerMessage) -> list[RunAction]:
        """A message comes."""
        return self.handle(Heard(self.now, peer, message))

    def start(self, stage: int, pid: int) -> list[RunAction]:
        """A process of this host runs."""
        return self.handle(WorkerStarted(self.now, stage, pid))

    def exit(self, stage: int, code: int = -9, pid: int | None = None) -> list[RunAction]:
        """A process of this host has ended; by default the stage's first."""
        name = {-9: "SIGKILL", -15: "SIGTERM"}.get(code, f"signal {-code}") if code < 0 else ""
        pid = 100 + stage if pid is None else pid
        return self.handle(
            WorkerExited(self.now, stage, pid, code, name, f"logs/worker-{stage}.log", "the end")
        )

    def hello(self, stage: int, incarnation: int = 0, **changes: Any) -> list[RunAction]:
        """The stage's worker says Hello; its pid is 100 more for each incarnation."""
        pid = 100 * (incarnation + 1) + stage
        said = Hello(PROTOCOL, RUN, stage, pid, "host", inbox(stage, incarnation), incarnation)
        return self.hear(peer_of(stage, incarnation), dataclasses.replace(said, **changes))

    def ready(self, stage: int, incarnation: int = 0) -> list[RunAction]:
        """The stage's worker could begin."""
        return self.hear(peer_of(stage, incarnation), Ready(RUN, stage))

    def move(self, stage: int, incarnation: int, endpoint: str) -> list[RunAction]:
        """The stage listens there for that incarnation of the one below."""
        return self.hear(peer_of(stage), InboxMoved(RUN, stage, incarnation, endpoint))

    def bye(self, stage: int, incarnation: int = 0) -> list[RunAction]:
        """The stage's worker leaves at the run's end."""
        return self.hear(peer_of(stage, incarnation), Bye(RUN, stage))

    def tell(self, stage: int, incarnation: int = 0, **work: Any) -> list[RunAction]:
        """The stage's worker tells of its work; work: see Work."""
        return self.hear(peer_of(stage, incarnation), told(stage, **work))

    def end_epoch(self, epoch: int, accuracy: float = 0.5, num_tested: int = 2) -> list[RunAction]:
        """Source and head tell all there is to tell of it, where there is no boundary.

        What follows, but for the word to all that it is known.
        """
        head = peer_of(self.stages[-1])
        actions = [
            *self.hear("stage-0", EpochTrained(RUN, epoch, 1.5)),
            *self.hear(head, EpochLoss(RUN, epoch, 0.25, 100)),
            *self.hear(head, Evaluated(RUN, epoch, 0.5, {"accuracy": accuracy}, num_tested)),
        ]
        return [action for action in actions if not is_word_of(action, EpochEntered)]

    def join(self, peer: str, stage: int | None = None, **changes: Any) -> list[RunAction]:
        """Somebody elsewhere offers to host stage, or any."""
        offer = Join(
            PROTOCOL, 7, "elsewhere", "machine", 8, 0, "cpu", stage or 0, stage is None, peer
        )
        return self.hear(peer, dataclasses.replace(offer, **changes))

    def close(self) -> list[RunAction]:
        """The run is over."""
        return self.handle(Closed(self.now))


def peer_of(stage: int, incarnation: int = 0) -> str:
    """The connection of that worker of the stage."""
    return f"stage-{stage}" + (f".{incarnation}" if incarnation else "")


def told(stage: int, **work: Any) -> Progress:
    """What a worker tells of its work."""
    said = progress(stage)
    counters = dataclasses.replace(said.counters, work=Work(**work))
    return dataclasses.replace(said, run_id=RUN, counters=counters)


def training(num_stages: int = 4, **changes: Any) -> Run:
    """A run all of whose workers have begun, with processes 100, 101 and so on."""
    run = Run(num_stages, **changes)
    assert run.begin() == [StartWorker(stage, 0) for stage in run.stages]
    for stage in run.stages:
        run.start(stage, 100 + stage)
        actions = run.hello(stage)
    assert [type(action) for action in actions] == [SendWelcome] * num_stages
    for stage in run.stages:
        assert run.ready(stage) == []
    assert run.tick() == [
        *(Send(peer_of(stage), Start(RUN)) for stage in run.stages),
        EnterStart(tuple(100 + stage for stage in run.stages)),
    ]
    for stage in run.stages:
        (entered,) = run.tell(stage)
        assert isinstance(entered, EnterProgress)
    return run


def remote(num_stages: int = 2, **changes: object) -> Run:
    """A run whose workers join; it has begun."""
    run = Run(num_stages, places=["remote"] * num_stages, **changes)
    assert run.begin() == []
    return run


def seated(num_stages: int = 2, **changes: object) -> Run:
    """The same, when all train; each was joiner K before it was stage-K."""
    run = remote(num_stages, **changes)
    for stage in run.stages:
        run.join(f"joiner {stage}", stage)
    run.tick()
    for stage in run.stages:
        run.hello(stage)
        run.ready(stage)
    assert isinstance(run.tick()[-1], EnterStart)
    for stage in run.stages:
        run.tell(stage)
    return run


def is_word_of(action: RunAction, kind: type[CoordinatorMessage]) -> bool:
    """Whether a message of that kind is sent."""
    return isinstance(action, Send) and isinstance(action.message, kind)
