"""How much of each kind a worker may still say: once, in order, or so often. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dni_async.decisions.allowance import Allowance
from dni_async.launcher.decisions.events import PartHeard
from dni_async.launcher.decisions.hearing.roles import Sender, Verdict
from dni_async.launcher.decisions.state import RunState
from dni_async.wire.messages import (
    Alive,
    BoundaryEpoch,
    EpochLoss,
    EpochTrained,
    Evaluated,
    FileWanted,
    Hello,
    InboxMoved,
    Join,
    Paused,
    Progress,
    Regrouped,
    Saved,
    WorkerMessage,
)

__all__ = ["MAX_AHEAD", "MAX_SPARES", "Dues"]

MAX_SPARES: Final = 256
MAX_AHEAD: Final = 4096  # tested epochs that one stage tells of before others do
BURST: Final = 256  # of what comes twice a second: two minutes in which the launcher stood still
PER_S: Final = 8.0
OUT_OF_TURN: Final = 2  # words of its counters, before layers change and behind that
MAX_ASKED: Final = 3  # for the shard that it starts from, which may come damaged
MAX_SENDINGS: Final = 8  # of one file: what came with something missing is sent again
LATE: Final[tuple[Verdict, str]] = ("passed over", "")
NOT_ASKED: Final[tuple[Verdict, str]] = ("refused", "it was not asked for")
HEARD: Final[tuple[Verdict, str]] = ("heard", "")


def _rate() -> Allowance:
    """Of what comes twice a second."""
    return Allowance(BURST, PER_S)


@dataclass(slots=True)
class _File:
    """One that comes in parts. endings: how often all of it has come."""

    batch_id: int
    size_bytes: int = 0
    endings: int = 0


@dataclass(slots=True)
class _Account:
    """What one worker has said. saved: the batch of its last part of a checkpoint. asked: how often
    for its shard. inbox: the incarnation that it listens for. files: the last one of each kind.
    """

    progress: Allowance = field(default_factory=_rate)
    points: int = 0
    saved: int = -1
    asked: int = 0
    inbox: int = -1
    regrouped: int = 0
    files: dict[str, _File] = field(default_factory=dict)


class Dues:
    """The accounts of all stages' present workers, and of all spares."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._accounts: dict[int, tuple[int, _Account]] = {}  # by stage, with the incarnation
        self._spares: dict[str, Allowance] = {}

    def judge(self, sender: Sender, peer: str, message: WorkerMessage) -> tuple[Verdict, str]:
        """Whether this one more may be, after all that came before it."""
        match message:
            case Hello():
                return self._hello(message)
            case Join():
                return self._join(peer)
            case Alive():
                return self._often(self._spares.setdefault(peer, _rate()))
            case EpochTrained() | EpochLoss() | BoundaryEpoch() | Evaluated():
                return self._ahead(message.epoch)
            case Paused():
                return self._paused(message)
            case Regrouped():
                return self._regrouped(sender, message)
        return HEARD if sender.stage is None else self._of_stage(sender, message)

    def _of_stage(self, sender: Sender, message: WorkerMessage) -> tuple[Verdict, str]:
        """What is counted by stage."""
        account = self._account(sender)
        match message:
            case Progress():
                return self._progress(account, message)
            case Saved():
                return self._saved(account, message)
            case FileWanted():
                return self._wanted(sender, account)
            case InboxMoved():
                return self._inbox(account, message)
        return HEARD

    def judge_part(self, sender: Sender, part: PartHeard) -> tuple[Verdict, str]:
        """The same of a part of a file: none for ever, none too large, no shard of before."""
        if not self._state.terms.is_remote(sender.stage or 0):
            return "refused", "its worker sees the run directory"
        files = self._account(sender).files
        file = files.get(part.kind)
        if file is None or file.batch_id < part.batch_id:
            file = files[part.kind] = _File(part.batch_id)
        if file.batch_id != part.batch_id or file.endings >= MAX_SENDINGS:
            return "refused", f"its {part.kind} came before"
        file.endings += part.is_last
        file.size_bytes += part.size_bytes
        if file.size_bytes > self._state.terms.most_file_bytes:
            return "refused", f"its {part.kind} is larger than it can be"
        return HEARD

    def _account(self, sender: Sender) -> _Account:
        assert sender.stage is not None
        incarnation, account = self._accounts.get(sender.stage, (-1, _Account()))
        if incarnation != sender.incarnation:
            account = _Account()
            self._accounts[sender.stage] = (sender.incarnation, account)
        return account

    def _often(self, rate: Allowance) -> tuple[Verdict, str]:
        return HEARD if rate.take(self._state.now) else ("refused", "it comes too often")

    def _join(self, peer: str) -> tuple[Verdict, str]:
        joined = self._state.joined
        if joined.knows(peer):
            return self._often(self._spares.setdefault(peer, _rate()))
        if joined.num_spares >= MAX_SPARES:
            return "refused", f"{MAX_SPARES} spares are enough"
        self._spares = {each: rate for each, rate in self._spares.items() if joined.knows(each)}
        return HEARD

    def _hello(self, message: Hello) -> tuple[Verdict, str]:
        """Of one that was found dead before this was read another has the place by now."""
        awaited = self._state.roster.incarnations.get(message.stage, 0)
        return LATE if message.incarnation < awaited else HEARD

    def _ahead(self, epoch: int) -> tuple[Verdict, str]:
        terms = self._state.terms
        most = self._state.last_epoch + MAX_AHEAD * terms.evaluate_every
        return HEARD if epoch <= most else ("refused", f"epoch {epoch} is far from being reached")

    def _progress(self, account: _Account, message: Progress) -> tuple[Verdict, str]:
        if not account.progress.take(self._state.now):
            return "refused", "it comes too often"
        account.points += len(message.points)
        if account.points > self._state.terms.most_points:
            return "refused", "its curve has more points than the run"
        return HEARD

    def _saved(self, account: _Account, message: Saved) -> tuple[Verdict, str]:
        if message.batch_id == account.saved:
            return LATE
        if message.batch_id < account.saved:
            return "refused", f"its checkpoint {account.saved} came before"
        account.saved = message.batch_id
        return HEARD

    def _paused(self, message: Paused) -> tuple[Verdict, str]:
        moves = self._state.moves
        if message.number > moves.count:
            return NOT_ASKED
        return HEARD if self._is_due(message) or message.number == moves.held else LATE

    def _regrouped(self, sender: Sender, message: Regrouped) -> tuple[Verdict, str]:
        """Around each a stage tells of its counters out of turn."""
        moves = self._state.moves
        if message.number > moves.count:
            return NOT_ASKED
        move, account = moves.under_way, self._account(sender)
        if move is None or not self._is_due(message) or not move.is_decided:
            return LATE
        if message.number > account.regrouped:
            account.regrouped = message.number
            account.progress.spend(-OUT_OF_TURN)
        return HEARD

    def _is_due(self, message: Paused | Regrouped) -> bool:
        """Of a move that is over nothing is heard any more."""
        move = self._state.moves.under_way
        return move is not None and message.number == move.number

    def _wanted(self, sender: Sender, account: _Account) -> tuple[Verdict, str]:
        if not self._state.terms.is_remote(sender.stage or 0):
            return "refused", "its worker sees the run directory"
        if account.asked == MAX_ASKED:
            return "refused", "it was sent what it wants"
        account.asked += 1
        return HEARD

    def _inbox(self, account: _Account, message: InboxMoved) -> tuple[Verdict, str]:
        if message.incarnation > self._state.vacancies.incarnation(message.stage - 1):
            return "refused", "it was not asked for"
        if message.incarnation <= account.inbox:
            return LATE
        account.inbox = message.incarnation
        return HEARD
