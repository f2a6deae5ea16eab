"""One simulated run, from its first launch to the end of its work, and all that is checked."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dni_async.files import names
from dni_async.launcher.places.local import Exited, Started
from dni_async.launcher.run_folder.resume import identity
from dni_async.wire.messages import EpochLoss, EpochTrained
from dni_async.workers.startup.assignment import Assignment
from tests.simulation import checks
from tests.simulation.disk import Disk
from tests.simulation.launcher import LauncherProcess, plan_of
from tests.simulation.network import Network
from tests.simulation.numbers import equipper
from tests.simulation.outside import ruled_by, scratch
from tests.simulation.scenario import Death, Scenario, Stall
from tests.simulation.worker import WorkerProcess
from tests.simulation.world import Process, Violation, World

__all__ = ["Outcome", "SimulatedRun", "simulate"]

FORK_S = 0.01  # a process runs after up to this
REAP_S = 0.003  # its end is known after up to this
SERVER_S = 2.0  # there is another fork server after up to this
KNOWN_S = 0.3  # the first update is told at once
PARTING_S = 4.0  # see the fork server
STILL_S = 90.0  # longer than every time-out: nobody brings the run on any more
MAX_LAUNCHES = 30


@dataclass
class Outcome:
    """What came of a run. missing: epochs that were never told of; lost: batches that never came
    to the head, and at most how many might; ops: by role, how much each did.
    """

    launches: int = 0
    deaths: int = 0
    replaced: int = 0
    moves: int = 0
    missing: list[int] = field(default_factory=list)
    lost: int = 0
    seconds: float = 0.0
    is_early: bool = False
    ops: dict[str, int] = field(default_factory=dict)


class SimulatedRun:
    """Hosts all processes; see Host and Ledger for what they have of it."""

    def __init__(self, scenario: Scenario, path: Path, *, is_traced: bool = False) -> None:
        self.scenario = scenario
        self.world = World(scenario.seed, is_traced=is_traced)
        self.network = Network(self.world, scenario.latency_s)
        self.equip = equipper(scenario, self)
        self.disk = Disk(self.world.draw)
        self.outcome = Outcome()
        self.workers: dict[int, WorkerProcess] = {}  # the newest of each stage
        self.launcher: LauncherProcess | None = None
        self.head_learnt: set[int] = set()
        self._passed: dict[int, int] = {}  # of each batch, up to which layer
        self.furthest = -1
        self.is_done = False
        self.has_sealed = False
        self.newest_seen = -1
        self.plan = plan_of(scenario)
        self.identity = identity(self.plan)
        self.checked: object = None  # what lay there when checkpoints were checked last
        self._path = path
        self._all: list[WorkerProcess] = []
        self._pids = 4_100_000  # hardly any of this machine, and nobody is killed by it
        self._lifeline: tuple[int, int] | None = None
        self._deaths = list(scenario.deaths)
        self._stalls = list(scenario.stalls)
        self._after = 0  # the first death that may wait for the one before
        self.had_worker_deaths = 0
        self._losses: dict[int, WorkerProcess] = {}  # who has told of the loss of an epoch
        self._known: set[int] = set()  # epochs whose loss is known to two
        self._deaths_now = 0  # of workers, in this launch
        self.server_until = 0.0  # there is no fork server before then
        self.stop_asked = False

    # --- the whole -----------------------------------------------------------------------------

    def run(self) -> Outcome:
        """To its end. Raises Violation."""
        mounted = self.disk.mounted() if self._may_lose_power else nullcontext()
        with mounted, ruled_by(self.world):
            return self._run()

    @property
    def _may_lose_power(self) -> bool:
        return any(death.role == "machine" for death in self.scenario.deaths)

    def _run(self) -> Outcome:
        try:
            self._launch()
            world = self.world
            while not self.is_done:
                if not world.step():
                    raise Violation("nothing is due any more", self.state())
                if world.now - world.moved_at > STILL_S:
                    raise Violation("nobody goes on", self.state())
            self.outcome.seconds = world.now
            return self.outcome
        finally:
            self._close()

    def _close(self) -> None:
        if self.launcher is not None and self.launcher.is_alive:
            self.launcher._let_go()
        if self._lifeline is not None:
            for each in self._lifeline:
                _close_fd(each)

    def _launch(self) -> None:
        number = self.outcome.launches = self.outcome.launches + 1
        if number > MAX_LAUNCHES:
            raise Violation("the run never ends", self.state())
        if self._lifeline is not None:
            _close_fd(self._lifeline[0])
        self._lifeline = os.pipe()
        self.workers.clear()
        self._all.clear()
        self._losses.clear()
        self._known.clear()
        self._deaths_now = 0
        launcher = self.launcher = self.network.launcher = LauncherProcess(self, number, self._path)
        self.arm()
        self.world.note(launcher.name, "begins")
        self.world.moved()
        launcher.begin(resumes=number > 1)

    def state(self) -> str:
        """Who stands where."""
        lines = [f"at {self.world.now:.3f} s, the source has come to batch {self.furthest}"]
        for stage, worker in sorted(self.workers.items()):
            loop = worker.loop
            said = "takes its seat" if loop is None else checks.standing(loop)
            if worker._ear is not None and worker._awaited is not None:
                said = f"waits for {worker._awaited.kind.__name__} from {worker._awaited.who}"
            lines.append(f"stage {stage} ({worker.name}, alive: {worker.is_alive}): {said}")
        if self.launcher is not None and hasattr(self.launcher, "machine"):
            state = self.launcher.machine._state
            lines.append(f"vacant: {state.vacancies.open}, ready: {state.roster.ready}, "
                         f"left: {state.roster.left}")  # fmt: skip
        return "\n  ".join(lines)

    # --- processes -------------------------------------------------------------------------------

    def start(self, stage: int, incarnation: int, told: dict[str, Any]) -> None:
        """The fork server is asked for a worker."""
        when = max(self.world.now, self.server_until) + FORK_S * self.world.random()
        self.world.at(when, self._fork, self.launcher, stage, incarnation, told)

    def _fork(
        self, launcher: LauncherProcess, stage: int, incarnation: int, told: dict[str, Any]
    ) -> None:
        if launcher is not self.launcher or not launcher.is_alive or launcher.ending is not None:
            return
        self._pids += 1
        assert self._lifeline is not None
        assignment = Assignment(
            coordinator=told["coordinator"],
            stage=stage,
            run_id=told["run_id"],
            lifeline=self._lifeline[0],
            incarnation=incarnation,
            ticket=told["ticket"],
        )
        worker = WorkerProcess(self, assignment, self._pids)
        self.workers[stage] = worker
        self._all.append(worker)
        self.world.note("fork server", f"starts {worker.name}")
        self.world.moved()
        launcher.found(Started(stage, worker.pid))
        self.arm(worker)
        worker.begin()

    def ended(self, worker: WorkerProcess, code: int) -> None:
        """A worker's process has ended."""
        launcher = self.launcher
        assert launcher is not None
        self.world.moved()
        if code < 0:
            self.outcome.deaths += 1
            self.had_worker_deaths += 1
            self._deaths_now += 1
        role = f"worker {worker.stage}"
        self.outcome.ops[role] = self.outcome.ops.get(role, 0) + worker.ops
        self.world.soon(REAP_S, self._reaped, launcher, worker, code)
        self.after_death()

    def _reaped(self, launcher: LauncherProcess, worker: WorkerProcess, code: int) -> None:
        is_unseen = self.world.now < self.server_until
        launcher.found(Exited(worker.stage, worker.pid, None if is_unseen else code))
        launcher.disconnect([control.peer for control in worker.transport.controls])
        self._relaunch_if_alone()

    def launcher_died(self) -> None:
        """The lifeline tells the workers; the fork server kills those that stay."""
        self._gone()
        assert self._lifeline is not None
        _close_fd(self._lifeline[1])
        for worker in self._living():
            worker.launcher_has_ended()
        self.world.at(self.world.now + PARTING_S, self._clean_up, self.launcher)
        self.after_death()
        self._relaunch_if_alone()

    def launcher_ends(self, ending: Any) -> None:
        """By itself: whoever is still there is killed."""
        if ending.ending == "done":
            checks.at_the_end(self)
        for worker in self._living():
            worker.kill()

    def launcher_ended(self, ending: Any) -> None:
        """Its work is done, or it is launched again as its user would."""
        self._gone()
        self.world.note("launcher", f"ended: {ending}")
        if ending is not None and ending.ending == "done":
            self.is_done = True
            return
        checks.of_ending(self, ending)
        assert self._lifeline is not None
        _close_fd(self._lifeline[1])
        self._relaunch_if_alone()

    def _gone(self) -> None:
        launcher = self.launcher
        assert launcher is not None
        self.network.launcher = None
        self.outcome.ops["launcher"] = self.outcome.ops.get("launcher", 0) + launcher.ops
        self.outcome.replaced += len(launcher.result.restarts) if hasattr(launcher, "result") else 0

    def _clean_up(self, launcher: LauncherProcess) -> None:
        if launcher is self.launcher:
            for worker in self._living():
                worker.kill()

    def _living(self) -> list[WorkerProcess]:
        return [worker for worker in self._all if worker.is_alive]

    def _relaunch_if_alone(self) -> None:
        launcher = self.launcher
        is_gone = launcher is not None and not launcher.is_alive
        if is_gone and not self._living() and not self.is_done:
            self.launcher = None
            self.world.soon(0.01, self._launch)

    # --- deaths ----------------------------------------------------------------------------------

    def arm(self, process: Process | None = None) -> None:
        """Deaths at somebody's n-th doing or word."""
        for death in list(self._deaths):
            if not death.op and not death.word:
                continue
            who: Process | None = None
            if death.role == "launcher" and process is None:
                who = self.launcher
            elif death.role == "worker" and isinstance(process, WorkerProcess):
                who = process if process.stage == death.stage else None
            if who is not None and who.dies_at is None and not who.words:
                self._deaths.remove(death)
                who.dies_at, who.words = death.op or None, death.word

    def after_death(self) -> None:
        """Deaths that follow on the one that has just been."""
        if self._deaths and self._deaths[0].after_s >= 0:
            death = self._deaths.pop(0)
            self.world.at(self.world.now + death.after_s, self._kill, death)

    def loaded(self, batch_id: int) -> None:
        """The source has come so far: deaths, stalls and the wish to end that wait for that."""
        self.world.moved()
        self.furthest = max(self.furthest, batch_id)
        share = (batch_id + 1) / self.scenario.num_ids
        is_last = batch_id + 1 >= self.scenario.num_ids - self.scenario.test_batches
        for death in list(self._deaths):
            if death.op or death.word or death.after_s >= 0:
                continue
            if death.work <= share:
                self._deaths.remove(death)
                self.world.soon(self._batch_s, self._kill, death)
            elif is_last:
                self._deaths.remove(death)
                self.world.at(self.world.now + (death.work - share) * 3, self._kill, death)
        for stall in list(self._stalls):
            if stall.work <= share:
                self._stalls.remove(stall)
                self._stall(stall)
        if self.scenario.stop_at <= share and not self.stop_asked:
            self.stop_asked = True
            self.world.soon(self._batch_s, self._ask_to_stop)

    @property
    def _batch_s(self) -> float:
        return max(self.scenario.speeds, default=0.005) + self.scenario.latency_s

    def _ask_to_stop(self) -> None:
        if self.launcher is not None:
            self.launcher.ask_to_stop()
        self.after_death()

    def _kill(self, death: Death) -> None:
        launcher = self.launcher
        self.world.note("fate", death)
        match death.role:
            case "worker":
                worker = self.workers.get(death.stage)
                if worker is not None and worker.is_alive:
                    if self.world.random() < 0.5:
                        worker.kill()
                    else:
                        worker.dies_at = worker.ops + self.world.draw.randint(1, 4)
                        self.world.soon(0.02, worker.kill)
            case "launcher":
                if launcher is not None and launcher.is_alive:
                    launcher.kill()
            case "fork server":
                self._kill_fork_server()
            case "machine":
                self._kill_all()

    def _kill_fork_server(self) -> None:
        """Another follows, which takes a while; deaths meanwhile are seen, but not how."""
        self.server_until = self.world.now + SERVER_S * self.world.random()

    def _kill_all(self) -> None:
        launcher = self.launcher
        for worker in self._living():
            worker.kill()
        if launcher is not None and launcher.is_alive:
            launcher.kill()
        if launcher is not None:
            folder = launcher.folder
            self.disk.lose(folder.checkpoints, (folder.path / names.METRICS,))

    def kill_pid(self, pid: int) -> None:
        """The launcher kills a worker."""
        for worker in self._living():
            if worker.pid == pid:
                worker.kill()

    def _stall(self, stall: Stall) -> None:
        worker = self.workers.get(stall.stage)
        if worker is None or not worker.is_alive:
            return
        self.world.note("fate", stall)
        until = self.world.now + stall.seconds
        for control in worker.transport.controls if stall.plane == "control" else ():
            for wire in (control.out, control.back):
                if wire is not None:
                    wire.stalled_until = until
        for channel in worker.transport.channels if stall.plane == "link" else ():
            if channel.out is not None:
                channel.out.stalled_until = until

    # --- what is heard of their work --------------------------------------------------------------

    def op(self, stage: int) -> None:
        """A stage computes."""
        worker = self.workers[stage]
        worker.has_computed = True
        worker.op()

    def passes(self, stage: int, batch_id: int, layers: tuple[int, int]) -> None:
        """A batch passes a stage's layers: all of the network, one after another."""
        first, end = layers
        if stage and self._passed.get(batch_id) != first and not self.scenario.is_unlocked:
            told = f"{batch_id} came to {layers}, behind {self._passed.get(batch_id)}"
            raise Violation("a batch passed other layers than come next", told)
        self._passed[batch_id] = end
        num_layers = self.scenario.ranges[-1][1]
        if stage + 1 == self.scenario.num_stages and end != num_layers:
            raise Violation("a batch did not pass all layers", f"{batch_id}: {end}")

    def learnt(self, stage: int, batch_id: int) -> None:
        """A stage has learnt from a batch."""
        self.world.moved()
        worker = self.workers[stage]
        if worker.learnt_at is None:
            worker.learnt_at = self.world.now
        if stage + 1 == self.scenario.num_stages:
            self.head_learnt.add(batch_id)

    def dies(self, stage: int, waits_s: float) -> None:
        """A worker's death is known, and its replacement is to wait for so long."""
        worker = self.workers.get(stage)
        learnt_at = None if worker is None else worker.learnt_at
        if waits_s > 0 and learnt_at is not None and self.world.now - learnt_at > KNOWN_S:
            raise Violation("a replacement waits though the one before had learnt", f"{waits_s} s")

    def said(self, worker: WorkerProcess, message: object) -> None:
        """A worker has said a word; of a marker behind it a neighbour knows, and of the word.

        A stage alone has none.
        """
        match message:
            case EpochLoss(epoch=epoch, num_samples=0):  # the one before had not passed it on
                self._losses.pop(epoch, None)
            case EpochLoss(epoch=epoch):
                self._losses[epoch] = worker
            case EpochTrained(epoch=epoch) if self._losses.get(epoch, worker) is not worker:
                self._known.add(epoch)

    def may_be_late(self, text: str) -> bool:
        """Whether what was refused is of one that has died, and another was asked for."""
        early = ("Hello without the ticket", "Ready was refused", "is awaited in incarnation")
        return any(each in text for each in early) and self._deaths_now > 0

    def enters(self, epoch: int, num_samples: int) -> None:
        """An epoch is entered: what was said of it is not lost, unless two have died together."""
        if epoch in self._known and not num_samples and self._deaths_now <= 1:
            raise Violation("what was said of an epoch is lost", f"of epoch {epoch}")

    def begins_at(self, batch_id: int) -> None:
        """A launch goes on with that batch: what was learnt from there on is forgotten."""
        self.head_learnt = {each for each in self.head_learnt if each < batch_id}
        self.furthest = -1

    def has_nothing_to_resume(self, why: str) -> None:
        """The run begins anew."""
        if self.has_sealed:
            raise Violation("no checkpoint is found, though one was whole", why)

    def written(self, path: Path) -> None:
        """A shard has been written; the disk may have something else there."""
        share = self.scenario.bad_writes
        if share and self.world.random() < share and path.exists():
            self.world.note("fate", f"spoils {path.parent.name}/{path.name}")
            self.disk.spoil(path)

    def checkpoints_changed(self, root: Path) -> None:
        """A checkpoint may have become whole, and others may be gone."""
        checks.of_checkpoints(self, root)


def _close_fd(number: int) -> None:
    try:
        os.close(number)
    except OSError:
        return


def simulate(scenario: Scenario, *, trace: list[str] | None = None) -> Outcome:
    """What comes of a scenario. Raises Violation. trace: gets a line for all that happens."""
    with scratch() as path:
        run = SimulatedRun(scenario, path / "run", is_traced=trace is not None)
        try:
            return run.run()
        finally:
            if trace is not None and run.world.events is not None:
                trace += run.world.events
