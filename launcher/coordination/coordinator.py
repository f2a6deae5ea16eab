"""Runs the line of workers: hears of them, has the run's machine decide, performs what it says."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dni_async.errors import HandshakeError, WorkerDied
from dni_async.launcher.coordination.event_file import RecordedRun, recorded_run
from dni_async.launcher.coordination.invitation import (
    asking_to_join,
    invitation_line,
    rings_of,
)
from dni_async.launcher.coordination.outside import Outside
from dni_async.launcher.coordination.pace import Pace
from dni_async.launcher.coordination.performer import Chronicle, Performer
from dni_async.launcher.coordination.terms import terms_of
from dni_async.launcher.decisions.events import (
    Begun,
    CheckpointDecided,
    Closed,
    Heard,
    RunEvent,
    StopAsked,
    Ticked,
)
from dni_async.launcher.decisions.run_machine import RunMachine
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.places.local import WorkerProcesses, worker_processes
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.results import RunResult
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.transport.channels import ControlServer
from dni_async.transport.keys import KeyRing
from dni_async.transport.sockets import Poller, Sockets, open_sockets

if TYPE_CHECKING:
    from dni_async.launcher.places.ray.cluster import RayCluster
    from dni_async.launcher.places.ray.workers import RayWorkers

__all__ = ["Coordinator", "train_decoupled"]

TURN_S = 0.1
SENDING_S = 0.005  # a turn while a file is on its way
STOP_S = 0.5
WEIGHTS_S = 10.0


def train_decoupled(
    plan: Plan,
    folder: RunFolder,
    display: Display,
    result: RunResult,
    shards: Sequence[Path] = (),
    cluster: RayCluster | None = None,
) -> None:
    """Train plan's network with one worker process per stage; the weights lie in folder.

    shards: the files that stages start from, by stage; none: they start from the seed. cluster:
    which places the workers, if any does.
    Fills in result as it goes, so that an interrupted run shows what it did. Raises HandshakeError
    when somebody does not join in time, WorkerDied with the first cause when a worker fails.
    Whatever happens, no worker outlives the call.
    """
    chronicle = Chronicle(plan, folder, display, result, shards)
    run_id = secrets.token_hex(8)
    terms = terms_of(plan, folder, run_id, result, is_resumed=bool(shards))
    with ExitStack() as stack:
        own, ring = rings_of(plan)
        sockets = stack.enter_context(open_sockets(own, display.note))
        processes = stack.enter_context(_processes(plan, folder, display))
        actors = stack.enter_context(_ray_workers(plan, cluster, ring, display))
        control = _listen(plan, sockets, processes)
        if actors is not None:
            actors.control = control.endpoint
        if plan.config.has_remote:
            line = invitation_line(plan, control.endpoint, ring)
            stack.enter_context(folder.inviting(line))
            if actors is None:
                display.note(asking_to_join(plan, line))
        machine = stack.enter_context(recorded_run(terms, folder.run_events))
        outside = Outside(control, folder, processes, actors)
        performer = Performer(plan, folder, run_id, outside, chronicle, ring)
        Coordinator(machine, outside, performer).run()


def _listen(plan: Plan, sockets: Sockets, processes: WorkerProcesses | None) -> ControlServer:
    """Where workers say Hello."""
    address = f"tcp://{plan.config.interface}:0"
    if plan.config.listen is not None:
        address = plan.control_address
    elif plan.config.transport != "tcp" and processes is not None:
        address = f"ipc://{processes.folder}/control"
    return sockets.control_server(address)


@contextmanager
def _processes(plan: Plan, folder: RunFolder, display: Display) -> Iterator[WorkerProcesses | None]:
    """What starts the workers of this host, if any are to be."""
    if all(plan.is_remote(stage) for stage in range(plan.num_stages)):
        yield None
        return
    log = folder.logs / "fork-server.log"
    with worker_processes(plan.threads_per_worker, log, folder.held, display.note) as processes:
        if plan.config.has_own_optimizer:
            processes.import_once("torch._dynamo")  # as torch.optim does, over a second in each
        yield processes


@contextmanager
def _ray_workers(
    plan: Plan, cluster: RayCluster | None, ring: KeyRing | None, display: Display
) -> Iterator[RayWorkers | None]:
    """What has a Ray cluster place the workers, if one does."""
    if cluster is None:
        yield None
        return
    from dni_async.launcher.places.ray.workers import ray_workers

    with ray_workers(plan, cluster, ring, display.note) as placed:
        yield placed


class Coordinator:
    """The one loop: what happened becomes events, the machine's actions are performed.

    ``run`` is what the launcher does. Whoever has a clock and a network of his own calls ``handle``
    and ``turn``, which wait for nothing but poller.
    """

    def __init__(
        self, machine: RunMachine | RecordedRun, outside: Outside, performer: Performer
    ) -> None:
        self._machine = machine
        self._outside = outside
        self._pace = Pace()
        self._performer = performer

    def run(self) -> None:
        """From the first process to the last Bye. Raises HandshakeError, WorkerDied."""
        pollers = self._outside.pollers()
        for poller in pollers:
            poller.watch(self._performer.errands.fileno())
        try:
            self.handle(Begun(self._outside.clock()))
            while self._performer.ending is None:
                self.turn(*pollers)
        finally:
            self._await_weights(pollers)
            self._hear_rest()
            self.handle(Closed(self._outside.clock()))
            self._performer.tell_refused(self._machine.refusals)
            self._await_ends()
            self._performer.look(is_last=True)
        ending = self._performer.ending
        if ending.ending == "nobody joined":
            raise HandshakeError(ending.why)
        if ending.ending == "worker died":
            raise WorkerDied(ending.why, ending.exit_code)

    def turn(self, poller: Poller, without_words: Poller | None = None) -> None:
        """Hear a bounded number of words, send a bounded number of parts, let time go on.

        without_words: waits for all but words, which do not wake the loop while they are a flood.
        """
        if self._pace.begin_turn(self._outside.clock()):
            poller = without_words or poller
        usual_s = TURN_S if self._performer.shards.is_done else SENDING_S
        poller.wait(self._pace.turn_s(usual_s))
        for event in self._outside.hear():
            before = self._machine.num_unheard
            self.handle(event)
            if self._pace.is_enough(self._machine.num_unheard - before):
                break
        self._performer.shards.push()
        self._performer.look()
        for batch_id, is_whole in self._performer.decided():
            self.handle(CheckpointDecided(self._outside.clock(), batch_id, is_whole))
        self.handle(Ticked(self._outside.clock()))
        self._performer.show_awaited(*self._machine.awaited)
        self._outside.control.await_workers(self._machine.awaits_workers)

    def _await_weights(self, pollers: Sequence[Poller]) -> None:
        """Whatever asks for the end when all is trained: the stages are about to leave it."""
        deadline = self._outside.clock() + WEIGHTS_S
        with suppress(WorkerDied):  # no more workers can be started, and none need be
            while self._machine.is_trained and self._performer.ending is None:
                if self._outside.clock() > deadline:
                    return
                self.turn(*pollers)

    def _hear_rest(self) -> None:
        """What was said of epochs before the end, however that came: it is in the report too."""
        for event in self._outside.hear_rest():
            if isinstance(event, Heard):
                self.handle(event)

    def handle(self, event: RunEvent) -> None:
        """Have the machine decide, and do that."""
        for action in self._machine.handle(event):
            self._performer.perform(action)
        reason = self._performer.take_stop()
        if reason is not None:
            self.handle(StopAsked(self._outside.clock(), reason))

    def _await_ends(self) -> None:
        """Wait a moment for processes that were asked to leave; the rest are killed after it."""
        processes = self._outside.processes
        if processes is None:
            return
        deadline = time.monotonic() + STOP_S
        poller = Poller()
        poller.watch(processes.fileno())
        with suppress(WorkerDied, OSError):  # no fork server is to be had: its workers go on
            while processes.alive and time.monotonic() < deadline:
                poller.wait(min(TURN_S, deadline - time.monotonic()))
                processes.hear()
