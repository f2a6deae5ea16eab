"""Performs what the run's machine decides: starts and kills, tells, shows and keeps."""

from __future__ import annotations

from dni_async.launcher.coordination.chronicle import Chronicle
from dni_async.launcher.coordination.outside import Outside
from dni_async.launcher.coordination.shard_sender import ShardSender
from dni_async.launcher.coordination.stack import Stacks
from dni_async.launcher.coordination.welcome import make_welcome
from dni_async.launcher.decisions.actions import (
    AskStack,
    EndActor,
    EndRun,
    KeepPart,
    KeepSaved,
    KillStuck,
    Note,
    RunAction,
    Send,
    SendShard,
    SendWelcome,
    StartActor,
    StartWorker,
)
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.run_folder.folder import RunFolder

__all__ = ["Performer"]


class Performer:
    """Of one run. ending: how the run ends, once it does."""

    def __init__(
        self, plan: Plan, folder: RunFolder, run_id: str, outside: Outside, chronicle: Chronicle
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._run_id = run_id
        self._outside = outside
        self._chronicle = chronicle
        self._stacks = Stacks(folder)
        self.shards = ShardSender(outside.control, run_id, chronicle.note)
        self.ending: EndRun | None = None

    def perform(self, action: RunAction) -> None:
        """Do it. Raises WorkerDied where no process can be started any more."""
        match action:
            case Send(peer=peer, message=message):
                self._outside.send(peer, message)
            case SendWelcome():
                self._welcome(action)
            case SendShard(peer=peer, stage=stage):
                self.shards.send(peer.encode("latin-1"), stage, self._chronicle.shard(stage))
            case KeepPart(incarnation=incarnation):
                assert self._outside.part is not None
                self._chronicle.keep_part(self._outside.part, incarnation)
            case KeepSaved(saved=saved):
                self._chronicle.keep_saved(saved)
            case Note(text=text):
                self._chronicle.note(text)
            case EndRun():
                self.ending = action
            case StartWorker() | StartActor() | EndActor() | AskStack() | KillStuck():
                self._see_to(action)
            case _:
                self._chronicle.enter(action)

    def _see_to(self, action: StartWorker | StartActor | EndActor | AskStack | KillStuck) -> None:
        """What becomes of a process or an actor."""
        actors = self._outside.actors
        match action:
            case StartWorker():
                self._start(action)
            case AskStack(stage=stage, pid=pid):
                self._stacks.ask(stage, pid)
            case KillStuck(stage=stage, pid=pid, text=text):
                self._chronicle.note(f"{text}: {self._stacks.where(stage, pid)}")
                self._stacks.kill(pid)
            case StartActor(stage=stage) if actors is not None:
                actors.start(stage)
            case EndActor(stage=stage) if actors is not None:
                actors.end(stage)

    def _start(self, action: StartWorker) -> None:
        config, processes = self._plan.config, self._outside.processes
        assert processes is not None
        processes.start(
            stage=action.stage,
            coordinator=self._outside.control.endpoint,
            run_id=self._run_id,
            log=self._folder.log(action.stage),
            incarnation=action.incarnation,
            keys=config.keys,
            is_open=config.insecure_without_keys,
            interface=self._plan.own_address if config.has_remote else "",
        )

    def _welcome(self, action: SendWelcome) -> None:
        shard = str(self._chronicle.shard(action.stage) or "")
        message = make_welcome(self._plan, self._folder, self._run_id, action, shard)
        self._outside.send(action.peer, message)
