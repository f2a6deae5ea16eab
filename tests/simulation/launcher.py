"""The launcher's process: the real run machine, performer, chronicle and run directory."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from dni_async.config.target_form import TargetForm
from dni_async.errors import CheckpointError, LinkError
from dni_async.launcher.coordination.performer import Chronicle, Performer
from dni_async.launcher.coordination.terms import terms_of
from dni_async.launcher.decisions.actions import EnterEpoch, EnterStart, KeepSaved, RunAction
from dni_async.launcher.decisions.events import (
    Begun,
    Closed,
    Heard,
    PartHeard,
    Reached,
    RunEvent,
    StopAsked,
    Ticked,
)
from dni_async.launcher.decisions.run_machine import RunMachine
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.results import RunResult
from dni_async.launcher.report.watcher import Watcher
from dni_async.launcher.run import _resume
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.resume import stage_files
from dni_async.wire.messages import CoordinatorMessage, FilePart, Heartbeat, Message
from tests.simulation.network import Control, Wire
from tests.simulation.scenario import Scenario
from tests.simulation.world import Killed, Process

__all__ = ["LauncherProcess", "plan_of"]

TURN_S = 0.1
MAX_HEARD = 64  # see Outside
STOP_S = 0.5  # see Coordinator


def plan_of(scenario: Scenario) -> Plan:
    """What the launcher has checked and laid out."""
    config, count = scenario.config, scenario.num_stages
    return Plan(
        config=config,
        dataset_name="simulated",
        input_shape=(1,),
        holds_ids=False,
        form=TargetForm(2),
        output_shape=(2,),
        num_train=scenario.train_batches,
        num_train_batches=scenario.train_batches,
        num_test=scenario.test_batches,
        num_test_batches=scenario.test_batches,
        num_layers=count,
        layer_ranges=[(stage, stage + 1) for stage in range(count)],
        devices=["cpu"] * count,
        hosts=["local"] * count,
        cores=2,
        load=0.0,
        threads_per_worker=1,
    )


class _Notes(Watcher):
    """See Display."""

    def __init__(self, launcher: LauncherProcess) -> None:
        self._launcher = launcher

    def note(self, text: str) -> None:
        self._launcher.world.note(self._launcher.name, f"notes: {text}")

    def waiting(self, text: str) -> None:
        pass


class _NobodyElse:
    """See OthersWatch: what else this machine does is nothing to a simulation."""

    def begin(self) -> None:
        pass

    def look(self, *, is_last: bool = False) -> None:
        pass


class _Outside:
    """See Outside, and what it holds."""

    def __init__(self, launcher: LauncherProcess) -> None:
        self._launcher = launcher
        self.control = self
        self.processes = self
        self.actors = None
        self.endpoint = "tcp://launcher:1"
        self.part: FilePart | None = None
        self.wires: dict[str, Wire] = {}
        self._broken: set[str] = set()

    def start(self, *, stage: int, incarnation: int, **_: object) -> None:
        """Ask the fork server for a worker."""
        self._launcher.op()
        self._launcher.host.start(stage, incarnation)

    def offer(self, peer: bytes, message: Message) -> bool:
        """Send it."""
        wire = self.wires.get(peer.decode("latin-1"))
        if wire is None:
            raise LinkError("it is gone")
        wire.say(message)
        return True

    def send(self, peer: str, message: CoordinatorMessage) -> None:
        """As Outside does."""
        launcher, wire = self._launcher, self.wires.get(peer)
        launcher.op()
        if wire is not None:
            launcher.world.note(launcher.name, f"to {peer}: {message}")
            wire.say(message)
        if isinstance(message, Heartbeat) and (wire is None) != (peer in self._broken):
            (self._broken.discard if wire is not None else self._broken.add)(peer)
            launcher.found(Reached(launcher.world.now, peer, wire is not None))


class LauncherProcess(Process):
    """One launch of the run in folder. ending: how it came to its end."""

    def __init__(self, host: Any, number: int, path: Path) -> None:
        super().__init__(host.world, f"launcher {number}")
        self.host = host
        self.run_id = f"run-{number}"
        self.folder = RunFolder(path)
        self.outside = _Outside(self)
        self.ending: Any = None
        self.began_at = 0  # the batch it went on with
        self._found: deque[RunEvent] = deque()
        self._heard: deque[tuple[str, Message]] = deque()
        self._has_turn = False

    def begin(self, *, resumes: bool) -> None:
        """Make the run directory ready, and ask for the workers."""
        self.guarded(lambda: self._begin(resumes=resumes))

    def _begin(self, *, resumes: bool) -> None:
        plan, display = plan_of(self.host.scenario), _Notes(self)
        shown: Any = display
        resumption = None
        if resumes:
            try:
                plan, resumption = _resume(plan, self.folder, shown)
            except CheckpointError as error:
                self.host.has_nothing_to_resume(str(error))
        if resumption is None:
            self.folder.create(plan.config.to_toml())
        result = self.result = _result_of(plan)
        shards: list[Path] = []
        if resumption is not None:
            shards = stage_files(resumption, plan, self.folder)
            result.epochs, result.boundaries = resumption.epochs, resumption.boundaries
            self.began_at = result.began_at = resumption.manifest.batch_id
            result.told = resumption.told
            self.folder.add_metrics(resumption.line(result.name))
        self.host.begins_at(self.began_at)
        chronicle = Chronicle(plan, self.folder, shown, result, shards)
        chronicle._others = _NobodyElse()  # type: ignore[assignment]
        terms = terms_of(plan, self.folder, self.run_id, result, is_resumed=bool(shards))
        self.machine = RunMachine(terms)
        outside: Any = self.outside
        self.performer = Performer(plan, self.folder, self.run_id, outside, chronicle)
        self._handle(Begun(self.world.now))
        self.world.at(self.world.now, self._look)

    # --- what comes from outside -----------------------------------------------------------------

    def connect(self, control: Control) -> None:
        """A worker opens a connection."""
        control.out = self.host.network.wire(self)
        control.back = self.outside.wires[control.peer] = self.host.network.wire(control)

    def disconnect(self, peers: list[str]) -> None:
        """Their processes have ended."""
        for peer in peers:
            self.outside.wires.pop(peer, None)

    def hear(self, item: tuple[str, Message]) -> None:
        """A message is here."""
        if self.is_alive:
            self._heard.append(item)
            self.wake()

    def found(self, event: RunEvent) -> None:
        """Something else has happened."""
        if self.is_alive:
            self._found.append(event)
            self.wake()

    def ask_to_stop(self) -> None:
        """Whoever watches wants the end."""
        if self.is_alive and self.ending is None:
            self.guarded(lambda: self._handle(StopAsked(self.world.now, "enough")))

    def wake(self) -> None:
        """Have a turn soon."""
        if not self._has_turn:
            self._has_turn = True
            self.world.soon(0.001, self._turn_if)

    def guarded(self, what: Any) -> None:
        """Do it as the process does."""
        try:
            what()
        except Killed:
            self.kill()

    def kill(self) -> None:
        """It ends on the spot."""
        if self.is_alive:
            self.is_alive = False
            self.world.note(self.name, "is killed")
            self._let_go()
            self.host.launcher_died()

    def _let_go(self) -> None:
        if self.folder._metrics is not None:
            self.folder._metrics.close()
        if self.folder._lock is not None:
            with suppress(OSError):
                os.close(self.folder._lock)

    # --- inside ------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self.is_alive and self.ending is None:
            self.wake()
            self.world.at(self.world.now + TURN_S, self._look)

    def _turn_if(self) -> None:
        self._has_turn = False
        if self.is_alive and self.ending is None:
            self.guarded(self._turn)

    def _turn(self) -> None:
        """As the coordinator's."""
        while self._found and self.ending is None:
            self._handle(self._found.popleft())
        for _ in range(min(MAX_HEARD, len(self._heard))):
            if self.ending is None:
                self._handle(self._event_of(*self._heard.popleft()))
        if self.ending is None:
            self.performer.shards.push()
            self._handle(Ticked(self.world.now))
        if self._heard:
            self.wake()

    def _event_of(self, peer: str, message: Any) -> RunEvent:
        if isinstance(message, FilePart):
            self.outside.part = message
            return PartHeard(self.world.now, peer, message.run_id, message.stage)
        return Heard(self.world.now, peer, message)

    def _handle(self, event: RunEvent) -> None:
        for action in self.machine.handle(event):
            self._perform(action)
        if self.performer.ending is not None and self.ending is None:
            self.ending = self.performer.ending
            self._handle(Closed(self.world.now))
            self.world.at(self.world.now + STOP_S, self._end)

    def _perform(self, action: RunAction) -> None:
        self.op()
        self.performer.perform(action)
        if isinstance(action, EnterEpoch | EnterStart | KeepSaved):
            self.world.moved()
            self.world.note(self.name, _brief(action))
        if isinstance(action, KeepSaved):
            self.host.checkpoints_changed(self.folder.checkpoints)

    def _end(self) -> None:
        """The launcher's process ends, as it should."""
        if self.is_alive:
            self.host.launcher_ends(self.ending)
            self.folder.close()
            self.is_alive = False
            self.host.launcher_ended(self.ending)


def _result_of(plan: Plan) -> RunResult:
    config = plan.config
    return RunResult(
        name=config.rule,
        kind="decoupled",
        rule=config.rule,
        num_workers=plan.num_stages,
        num_threads=plan.num_stages,
        is_lockstep=plan.rule.is_lockstep,
        goal=config.goal,
    )


def _brief(action: RunAction) -> str:
    if isinstance(action, EnterEpoch):
        return f"enters epoch {action.epoch.epoch} of {action.epoch.num_samples} samples"
    if isinstance(action, KeepSaved):
        return f"hears that stage {action.saved.stage} saved {action.saved.batch_id}"
    return type(action).__name__
