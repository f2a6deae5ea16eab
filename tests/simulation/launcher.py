"""The launcher's process: the real run machine, performer, chronicle and run directory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from dni_async.config.target_form import TargetForm
from dni_async.errors import CheckpointError, LinkError
from dni_async.files.weights import TensorForm, WeightsForm
from dni_async.launcher.coordination.coordinator import Coordinator
from dni_async.launcher.coordination.outside import Outside
from dni_async.launcher.coordination.performer import Chronicle, Performer
from dni_async.launcher.coordination.terms import terms_of
from dni_async.launcher.decisions.actions import (
    EndRun,
    EnterDeath,
    EnterEpoch,
    EnterMove,
    EnterStart,
    KeepSaved,
    Note,
    RunAction,
)
from dni_async.launcher.decisions.events import Begun, Closed, RunEvent
from dni_async.launcher.decisions.run_machine import RunMachine
from dni_async.launcher.places.local import Exited, Started
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.results import RunResult
from dni_async.launcher.report.watcher import Watcher
from dni_async.launcher.run import _resume
from dni_async.launcher.run_folder.errands import Errands, _outcome
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.resume import stage_files
from dni_async.wire.messages import CoordinatorMessage, Heartbeat, Message
from tests.simulation.network import Control, Wire, short
from tests.simulation.scenario import Scenario
from tests.simulation.world import Killed, Process, Violation

__all__ = ["LauncherProcess", "plan_of"]

TURN_S = 0.1
STOP_S = 0.5  # see Coordinator
DISK_S = 0.005  # an errand takes up to this


def plan_of(scenario: Scenario) -> Plan:
    """What the launcher has checked and laid out."""
    config, count, ranges = scenario.config, scenario.num_stages, scenario.ranges
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
        layers=tuple(map(_form, range(ranges[-1][1]))),
        layer_ranges=ranges,
        devices=["cpu"] * count,
        hosts=["local"] * count,
        cores=2,
        load=0.0,
        threads_per_worker=1,
    )


def _form(layer: int) -> WeightsForm:
    return WeightsForm({f"{layer}.weight": TensorForm("F32", (1, 1))}, frozenset({str(layer)}))


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


class _Server:
    """See ControlServer."""

    endpoint = "tcp://launcher:1"

    def __init__(self, launcher: LauncherProcess) -> None:
        self._launcher = launcher
        self.wires: dict[str, Wire] = {}
        self.heard: deque[tuple[bytes, Message]] = deque()

    def await_workers(self, are_awaited: bool) -> None:
        pass

    def receive(self) -> tuple[bytes, Message] | None:
        return self.heard.popleft() if self.heard else None

    def offer(self, peer: bytes, message: Message) -> bool:
        self.send(peer, message)
        return True

    def send(self, peer: bytes, message: CoordinatorMessage) -> None:
        launcher, name = self._launcher, peer.decode("latin-1")
        launcher.op()
        wire = self.wires.get(name)
        if wire is None:
            raise LinkError(f"{name} is gone")
        if launcher.world.events is not None and not isinstance(message, Heartbeat):
            launcher.world.note(launcher.name, f"to {name}: {short(message)}")
        wire.say(message)


class _Processes:
    """See WorkerProcesses."""

    def __init__(self, launcher: LauncherProcess) -> None:
        self._launcher = launcher
        self.found: list[Started | Exited] = []

    def hear(self) -> list[Started | Exited]:
        found, self.found = self.found, []
        return found

    def start(self, *, stage: int, incarnation: int, **told: Any) -> None:
        self._launcher.op()
        self._launcher.host.start(stage, incarnation, told)


class _Poller:
    """See Poller: somebody has woken the launcher already."""

    def wait(self, timeout_s: float) -> set[int]:
        return set()


class _Stacks:
    """See Stacks; a process of a simulation has none, and is killed by the simulation."""

    def __init__(self, launcher: LauncherProcess) -> None:
        self._launcher = launcher

    def ask(self, stage: int, pid: int) -> None:
        pass

    def where(self, stage: int, pid: int) -> str:
        return "it stands nowhere"

    def kill(self, pid: int) -> None:
        self._launcher.host.kill_pid(pid)


class _SlowDisk(Errands):
    """Errands that are done after a while, one after another."""

    def __init__(self, launcher: LauncherProcess) -> None:
        super().__init__()
        self._launcher = launcher
        self._due: deque[tuple[float, Callable[[], Any], Callable[[Any], None]]] = deque()
        self._last = 0.0

    def run(self, errand: Callable[[], Any], done: Callable[[Any], None]) -> None:
        world = self._launcher.world
        self._last = max(self._last, world.now) + DISK_S * world.random()
        self._due.append((self._last, errand, done))

    def look(self) -> None:
        while self._due and self._due[0][0] <= self._launcher.world.now:
            self._do()

    def finish(self) -> None:
        while self._due:
            self._do()

    def _do(self) -> None:
        _, errand, done = self._due.popleft()
        done(_outcome(errand))
        self._launcher.host.checkpoints_changed(self._launcher.folder.checkpoints)


class LauncherProcess(Process):
    """One launch of the run in folder. ending: how it came to its end."""

    def __init__(self, host: Any, number: int, path: Path) -> None:
        super().__init__(host.world, f"launcher {number}")
        self.host = host
        self.run_id = f"run-{number}"
        self.folder = RunFolder(path)
        self.server, self.processes = _Server(self), _Processes(self)
        self.poller = _Poller()
        self.coordinator: Coordinator | None = None
        self.ending: EndRun | None = None
        self._has_turn = False

    def begin(self, *, resumes: bool) -> None:
        """Make the run directory ready, and ask for the workers."""
        self.guarded(lambda: self._begin(resumes=resumes))

    def _begin(self, *, resumes: bool) -> None:
        plan, display = self.host.plan, _Notes(self)
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
        self.host.begins_at(result.began_at)
        chronicle = Chronicle(plan, self.folder, shown, result, shards, _SlowDisk(self))
        chronicle._others = _NobodyElse()  # type: ignore[assignment]
        terms = terms_of(plan, self.folder, self.run_id, result, is_resumed=bool(shards))
        self.machine = RunMachine(terms)
        world, control, processes = (
            self.world,
            cast("Any", self.server),
            cast("Any", self.processes),
        )
        outside = Outside(control, self.folder, processes, None, clock=lambda: world.now)
        self.performer = Performer(plan, self.folder, self.run_id, outside, chronicle)
        self.performer._stacks = _Stacks(self)  # type: ignore[assignment]
        machine: Any = _Heard(self)
        self.coordinator = Coordinator(machine, outside, self.performer)
        self.coordinator.handle(Begun(world.now))
        world.at(world.now, self._look)

    # --- what comes from outside -------------------------------------------------------------

    def connect(self, control: Control) -> None:
        """A worker opens a connection."""
        control.out = self.host.network.wire(self)
        control.back = self.server.wires[control.peer] = self.host.network.wire(control)

    def disconnect(self, peers: list[str]) -> None:
        """Their processes have ended."""
        for peer in peers:
            self.server.wires.pop(peer, None)

    def hear(self, item: tuple[str, Message]) -> None:
        """A message is here."""
        if self.is_alive:
            self.server.heard.append((item[0].encode(), item[1]))
            self.wake()

    def found(self, event: Started | Exited) -> None:
        """The fork server tells of a process."""
        if self.is_alive:
            self.processes.found.append(event)
            self.wake()

    def ask_to_stop(self) -> None:
        """Whoever watches wants the end."""
        if self.is_alive and self.ending is None:
            self.result.stop_asked = "enough"

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

    # --- inside ------------------------------------------------------------------------------

    def _look(self) -> None:
        if self.is_alive and self.ending is None:
            self.wake()
            self.world.at(self.world.now + TURN_S, self._look)

    def _turn_if(self) -> None:
        self._has_turn = False
        if self.is_alive and self.ending is None:
            self.guarded(self._turn)

    def _turn(self) -> None:
        assert self.coordinator is not None
        poller: Any = self.poller
        self.coordinator.turn(poller)
        if self.performer.ending is not None:
            self.ending = self.performer.ending
            self.coordinator.handle(Closed(self.world.now))
            self.world.at(self.world.now + STOP_S, self._end)
        elif self.server.heard:
            self.wake()

    def _end(self) -> None:
        """The launcher's process ends, as it should."""
        if self.is_alive:
            self.performer.look(is_last=True)
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
        layers=list(plan.layer_ranges),
    )


class _Heard:
    """The machine; what it decides is told to the simulation too."""

    def __init__(self, launcher: LauncherProcess) -> None:
        self._launcher = launcher
        self._machine = launcher.machine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    @property
    def num_unheard(self) -> int:
        return self._machine.num_unheard

    @property
    def awaits_workers(self) -> bool:
        return self._machine.awaits_workers

    def handle(self, event: RunEvent) -> Iterator[RunAction]:
        launcher, world = self._launcher, self._launcher.world
        for action in self._machine.handle(event):
            launcher.op()
            is_refused = isinstance(action, Note) and " was refused: " in action.text
            if is_refused and not launcher.host.may_be_late(action.text):
                raise Violation("a worker that keeps to the protocol was refused", action.text)
            if isinstance(action, EnterMove):
                launcher.host.outcome.moves += 1
            if isinstance(action, EnterEpoch):
                launcher.host.enters(action.epoch.epoch, action.epoch.num_samples)
            elif isinstance(action, EnterDeath):
                vacancy = self._machine._state.vacancies.open[action.stage]
                launcher.host.dies(action.stage, vacancy.begins_at - world.now)
            if isinstance(action, EnterEpoch | EnterMove | EnterStart | EnterDeath | KeepSaved):
                world.moved()
                world.note(launcher.name, _brief(action))
            yield action


def _brief(action: RunAction) -> str:
    if isinstance(action, EnterEpoch):
        return f"enters epoch {action.epoch.epoch} of {action.epoch.num_samples} samples"
    if isinstance(action, KeepSaved):
        return f"hears that stage {action.saved.stage} saved {action.saved.batch_id}"
    return type(action).__name__
