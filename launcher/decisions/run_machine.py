"""Decides for the run: an event in, the exact actions out."""

from __future__ import annotations

from dni_async.decisions.words import EpochWord
from dni_async.launcher.decisions import admission, deaths, progress, stuck, succession
from dni_async.launcher.decisions.actions import (
    EndRun,
    KeepPart,
    KeepSaved,
    RunAction,
    Send,
    SendShard,
)
from dni_async.launcher.decisions.events import (
    ActorEnded,
    Begun,
    CheckpointDecided,
    Closed,
    Heard,
    PartHeard,
    Reached,
    Refused,
    RunEvent,
    StopAsked,
    Ticked,
    WorkerExited,
    WorkerStarted,
)
from dni_async.launcher.decisions.hearing.hearing import Hearing
from dni_async.launcher.decisions.moving import balancing, steps
from dni_async.launcher.decisions.state import RunState
from dni_async.launcher.decisions.terms import RunTerms
from dni_async.wire.messages import (
    BoundaryEpoch,
    Bye,
    EndReached,
    EpochLoss,
    EpochTrained,
    Evaluated,
    Failed,
    FileWanted,
    Hello,
    InboxMoved,
    Join,
    Paused,
    Progress,
    Ready,
    Regrouped,
    Saved,
    Stop,
    WorkerMessage,
)

__all__ = ["RunMachine"]


class RunMachine:
    """The decisions of one run: who takes part, what follows a death, when it starts and ends.

    After EndRun nothing leads to anything but Closed and what is still heard of epochs. What is due
    by time is done at Ticked alone.
    """

    def __init__(self, terms: RunTerms) -> None:
        self._state = RunState(terms)
        self._hearing = Hearing(self._state)
        self._is_over = False

    def handle(self, event: RunEvent) -> list[RunAction]:
        """The actions that event sets off, in the order in which to perform them."""
        if self._is_over and not (isinstance(event, Closed) or _is_of_epoch(event)):
            return []
        self._state.now = event.at
        actions = self._decide(event)
        ends = [place for place, action in enumerate(actions) if isinstance(action, EndRun)]
        if not ends:
            return actions
        self._is_over = True
        return actions[: ends[0] + 1]

    @property
    def awaits_workers(self) -> bool:
        """Whether anybody may connect who has not: a stage has no worker, or spares may come."""
        state = self._state
        has_remote = any(map(state.terms.is_remote, range(state.terms.num_stages)))
        return has_remote or not state.roster.all_admitted

    @property
    def num_unheard(self) -> int:
        """How many messages were not listened to so far."""
        return self._hearing.refusals.total + self._state.num_refused

    @property
    def refusals(self) -> str:
        """What came of refused messages beyond what was said of them; empty where nothing did."""
        return self._hearing.refusals.summary()

    @property
    def is_trained(self) -> bool:
        """Whether nothing is left to be learnt, and all workers are there to leave what they have
        learnt.
        """
        state = self._state
        is_whole = state.cause is None and not state.vacancies.open
        return is_whole and state.has_started and state.last_epoch >= state.terms.epochs

    @property
    def awaited(self) -> tuple[bool, list[int]]:
        """Before the start: whether everybody has joined, and whose stages are not there yet."""
        state = self._state
        if state.has_started:
            return True, []
        return state.roster.all_admitted, state.roster.awaited

    def _decide(self, event: RunEvent) -> list[RunAction]:
        state = self._state
        match event:
            case Begun():
                return admission.begin(state)
            case Heard(peer=peer, message=message):
                return self._hear(peer, message)
            case PartHeard():
                return self._hear_part(event)
            case Refused(peer=peer, why=why):
                return state.refuse(peer, f"a message was refused: {why}")
            case StopAsked(reason=reason):
                return progress.hear_stop(state, reason)
            case CheckpointDecided():
                return steps.hear_checkpoint(state, event)
            case Ticked():
                return self._tick()
            case Closed():
                return self._close()
            case _:
                return self._notice(event)

    def _notice(
        self, event: WorkerStarted | WorkerExited | ActorEnded | Reached
    ) -> list[RunAction]:
        """What became of a process, an actor or a connection."""
        state = self._state
        match event:
            case WorkerStarted(stage=stage, pid=pid):
                state.roster.pids[stage] = pid
                state.roster.alive[pid] = stage
            case WorkerExited():
                return deaths.hear_exit(state, event)
            case ActorEnded():
                return admission.hear_actor(state, event)
            case Reached(peer=peer, is_connected=is_connected):
                state.joined.reach(peer, is_connected, state.now)
        return []

    def _hear(self, peer: str, message: WorkerMessage) -> list[RunAction]:
        state = self._state
        is_heard, refusal = self._hearing.hears(peer, message)
        if not is_heard:
            return refusal
        state.joined.hear(peer, state.now)
        match message:
            case Hello():
                return admission.hear_hello(state, peer, message)
            case Join():
                return admission.hear_join(state, peer, message)
        return self._hear_worker(peer, message)

    def _hear_worker(self, peer: str, message: WorkerMessage) -> list[RunAction]:
        state = self._state
        match message:
            case Progress():
                balancing.hear(state, message)
                return progress.hear_progress(state, message)
            case EpochTrained() | EpochLoss() | BoundaryEpoch() | Evaluated():
                return progress.hear_epoch(state, message)
            case EndReached():
                return progress.hear_end(state, message)
            case Paused() | Regrouped():
                return steps.hear(state, message)
            case Saved():
                return [KeepSaved(message)]
            case Ready(stage=stage):
                return admission.hear_ready(state, stage)
            case _:
                return self._hear_rest(peer, message)

    def _hear_rest(self, peer: str, message: WorkerMessage) -> list[RunAction]:
        """What is said once or twice by a worker."""
        state = self._state
        match message:
            case InboxMoved():
                succession.hear_inbox(state, message)
            case FileWanted(stage=stage):
                return [SendShard(peer, stage)]
            case Bye(stage=stage):
                deaths.hear_bye(state, stage)
            case Failed():
                deaths.hear_failed(state, message)
        return []

    def _hear_part(self, event: PartHeard) -> list[RunAction]:
        is_heard, refusal = self._hearing.hears_part(event)
        if not is_heard:
            return refusal
        self._state.joined.hear(event.peer, self._state.now)
        return [KeepPart(self._state.vacancies.incarnation(event.stage))]

    def _tick(self) -> list[RunAction]:
        state = self._state
        actions = [*admission.beat(state), *deaths.explain(state), *succession.fill(state)]
        if not state.has_started:
            return actions + admission.look(state)
        if state.roster.all_left:
            return [*actions, EndRun("done")]
        return actions + steps.look(state) + balancing.look(state) + stuck.look(state)

    def _close(self) -> list[RunAction]:
        """All that was told is entered, and whoever is still there is asked to leave."""
        self._is_over = True
        stop = Stop(self._state.terms.run_id, "the launcher ends the run")
        peers = [*self._state.roster.peers.values(), *self._state.joined.reachable]
        asked: list[RunAction] = [Send(peer, stop) for peer in dict.fromkeys(peers)]
        return progress.close(self._state) + asked


def _is_of_epoch(event: RunEvent) -> bool:
    return isinstance(event, Heard) and isinstance(event.message, EpochWord)
