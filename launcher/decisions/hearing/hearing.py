"""Asks of each message who sends it, whether they may, and whether it can be true. No I/O."""

from __future__ import annotations

from collections import deque

from dni_async.launcher.decisions.actions import Note, RunAction
from dni_async.launcher.decisions.events import PartHeard
from dni_async.launcher.decisions.hearing.dues import Dues
from dni_async.launcher.decisions.hearing.refusals import Refusals
from dni_async.launcher.decisions.hearing.roles import Sender, Verdict, judge, sender_of
from dni_async.launcher.decisions.hearing.values import why_impossible
from dni_async.launcher.decisions.state import RunState
from dni_async.wire.messages import Alive, FilePart, Hello, Join, WorkerMessage

__all__ = ["Hearing"]

FORMER = 64  # connections of workers that have been replaced, for each stage


class Hearing:
    """What is refused changes nothing, is named once, and is counted; nothing ends a run by it."""

    def __init__(self, state: RunState) -> None:
        self.refusals = Refusals()
        self._state = state
        self._dues = Dues(state)
        self._last: dict[int, str] = {}  # by stage, the connection of whom was heard last
        self._former: deque[str] = deque(maxlen=FORMER * state.terms.num_stages)

    def hears(self, peer: str, message: WorkerMessage) -> tuple[bool, list[RunAction]]:
        """Whether message is to be believed; if not, what is to be said of it."""
        sender = self._sender(peer)
        verdict, why = self._judge(sender, peer, message)
        if verdict == "heard":
            if sender.stage is not None:
                self._remember(sender.stage, peer)
            elif isinstance(message, Hello) and message.stage in self._state.roster.peers:
                self._remember(message.stage, self._state.roster.peers[message.stage])
            return True, []
        if verdict == "passed over" and isinstance(message, Hello):
            self._former.append(peer)  # of one that is dead, whose Ready may come as well
        return False, self._refuse(sender, type(message).__name__, verdict, why)

    def hears_part(self, part: PartHeard) -> tuple[bool, list[RunAction]]:
        """The same of a part of a file."""
        sender = self._sender(part.peer)
        verdict, why = judge(sender, FilePart, self._state.terms.num_stages)
        if verdict == "heard":
            verdict, why = self._own(sender, part.run_id, part.stage)
        if verdict == "heard":
            verdict, why = self._dues.judge_part(sender, part)
        return verdict == "heard", self._refuse(sender, FilePart.__name__, verdict, why)

    def _sender(self, peer: str) -> Sender:
        return sender_of(self._state, peer, self._was_worker)

    def _was_worker(self, peer: str) -> bool:
        return peer in self._former or peer in self._last.values()

    def _remember(self, stage: int, peer: str) -> None:
        """Know the connection again when it is no more that of the stage."""
        before = self._last.get(stage)
        if before is not None and before != peer:
            self._former.append(before)
        self._last[stage] = peer

    def _judge(self, sender: Sender, peer: str, message: WorkerMessage) -> tuple[Verdict, str]:
        verdict, why = judge(sender, type(message), self._state.terms.num_stages)
        if verdict != "heard":
            return verdict, why
        if not isinstance(message, Join | Alive | Hello):
            stage = getattr(message, "stage", sender.stage)
            verdict, why = self._own(sender, message.run_id, stage)
        if verdict == "heard":
            why = why_impossible(self._state.terms, message)
            return ("refused", why) if why else self._dues.judge(sender, peer, message)
        return verdict, why

    def _own(self, sender: Sender, run_id: str, stage: int | None) -> tuple[Verdict, str]:
        """Whether what is said is of this run, and of the stage that its sender hosts."""
        if run_id != self._state.terms.run_id:
            return "refused", "it is of another run"
        if stage != sender.stage:
            return "refused", f"it is of stage {stage}"
        return "heard", ""

    def _refuse(self, sender: Sender, kind: str, verdict: Verdict, why: str) -> list[RunAction]:
        if verdict == "heard":
            return []
        if verdict == "passed over":
            self.refusals.passed_over()
            return []
        text = self.refusals.refuse(sender.stage, kind, why)
        return [Note(text)] if text else []
