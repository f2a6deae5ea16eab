"""Who has joined from elsewhere, hosts which stage, and is still there. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from dni_async.errors import HandshakeError
from dni_async.wire.messages import PROTOCOL, Join

__all__ = ["Gone", "JoinedWorkers", "Joiner"]

CUT_OFF_S = 2.0  # a broken connection that is not made again in this time was a death
ANSWER_S = 20.0  # from the word which stage to host to Hello


@dataclass(slots=True)
class Joiner:
    """One who joined. peer: how to reach it, None between two connections.

    heard_at, cut_at: when it was heard last, since when there is no connection. stage: that it
    hosts, or is to.
    """

    peer: str | None
    join: Join
    heard_at: float
    cut_at: float | None = None
    stage: int | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.join.host}, pid {self.join.pid}"


@dataclass(frozen=True, slots=True)
class Gone:
    """One who joined is not there any more, or has left its stage to join again."""

    joiner: Joiner
    why: str
    has_left: bool = False


class JoinedWorkers:
    """All who have joined, in that order; each hosts a stage or is a spare."""

    def __init__(self, num_stages: int, silent_after_s: float) -> None:
        self._num_stages = num_stages
        self._silent_after_s = silent_after_s
        self._joiners: list[Joiner] = []
        self._wanted: dict[int, int] = {}  # stage -> incarnation

    @property
    def wanted(self) -> list[int]:
        """Stages that wait for somebody to join."""
        return sorted(self._wanted)

    @property
    def reachable(self) -> list[str]:
        """Whom to send heartbeats."""
        return [joiner.peer for joiner in self._joiners if joiner.peer is not None]

    @property
    def num_spares(self) -> int:
        """Who hosts no stage."""
        return sum(joiner.stage is None for joiner in self._joiners)

    @property
    def set_on(self) -> str:
        """In words: how many wait for stages alone that others host; empty where nobody does."""
        idle = [
            each.join.stage
            for each in self._joiners
            if each.stage is None and not self._takes_any(each.join)
        ]
        taken = sorted(stage for stage in idle if stage not in self._wanted)
        if not taken:
            return ""
        stages = ", ".join(map(str, dict.fromkeys(taken)))
        return f"; {len(taken)} who joined would host stage {stages} alone, which another hosts"

    def knows(self, peer: str) -> bool:
        """Whether who is reached by that connection has joined."""
        return any(joiner.peer == peer for joiner in self._joiners)

    def host_of(self, stage: int) -> Joiner | None:
        """Who hosts stage, or is to."""
        return next((each for each in self._joiners if each.stage == stage), None)

    def num_threads(self, stage: int) -> int:
        """As asked for; else a fair share of the machine's cores among the stages on it."""
        host = self.host_of(stage)
        assert host is not None
        if host.join.num_threads:
            return host.join.num_threads
        beside = [each for each in self._joiners if each.stage is not None]
        sharing = sum(each.join.machine == host.join.machine for each in beside)
        return max(1, host.join.num_cores // max(sharing, 1))

    def enter(self, peer: str, join: Join, now: float) -> Gone | None:
        """Somebody joins, or asks again; the stage it has left, if it hosted one.

        Raises HandshakeError for another protocol.
        """
        if join.protocol != PROTOCOL:
            raise HandshakeError(
                f"{join.host} speaks protocol {join.protocol}, this launcher {PROTOCOL}"
            )
        left = None
        for known in list(self._joiners):
            if known.peer == peer:
                known.heard_at = now
                return None
            if known.join.token == join.token:
                self._joiners.remove(known)
                if known.stage is not None:
                    left = Gone(known, "it has left to join again", has_left=True)
        self._joiners.append(Joiner(peer, join, now))
        return left

    def want(self, stage: int, incarnation: int) -> None:
        """The stage needs a worker."""
        self._wanted[stage] = incarnation

    def assign(self, now: float) -> list[tuple[str, int, int]]:
        """Who is to host what: peer, stage and incarnation, each once."""
        told = []
        for stage, incarnation in sorted(self._wanted.items()):
            spare = self._spare_for(stage)
            if spare is None or spare.peer is None:
                continue
            told.append((spare.peer, stage, incarnation))
            spare.peer, spare.stage, spare.heard_at, spare.cut_at = None, stage, now, None
            del self._wanted[stage]
        return told

    def seat(self, stage: int, peer: str, now: float) -> None:
        """The stage's Hello has come, from peer."""
        host = self.host_of(stage)
        if host is not None:
            host.peer, host.heard_at = peer, now

    def hear(self, peer: str, now: float) -> None:
        """Something has come from peer."""
        for joiner in self._joiners:
            if joiner.peer == peer:
                joiner.heard_at = now

    def reach(self, peer: str, is_connected: bool, now: float) -> None:
        """Whether a heartbeat could be sent."""
        for joiner in self._joiners:
            if joiner.peer == peer:
                if is_connected:
                    joiner.cut_at = None
                elif joiner.cut_at is None:
                    joiner.cut_at = now

    def dismiss(self, stage: int) -> Joiner | None:
        """The stage is to be hosted by somebody else; who had it."""
        host = self.host_of(stage)
        if host is not None:
            self._joiners.remove(host)
        return host

    def lose(self, stage: int, why: str) -> list[Gone]:
        """Forget all who host stage or wait for it alone: it is known that they have died."""
        lost = [
            each
            for each in self._joiners
            if each.stage == stage
            or (each.stage is None and not each.join.is_for_any and each.join.stage == stage)
        ]
        for joiner in lost:
            self._joiners.remove(joiner)
        return [Gone(joiner, why) for joiner in lost]

    def sweep(self, now: float, training: set[int]) -> list[Gone]:
        """Forget those who are not there any more. training: stages that speak twice a second."""
        gone = []
        for joiner in list(self._joiners):
            why = self._why_gone(joiner, now, training)
            if why:
                gone.append(Gone(joiner, why))
                self._joiners.remove(joiner)
        return gone

    def _why_gone(self, joiner: Joiner, now: float, training: set[int]) -> str:
        silent_s = now - joiner.heard_at
        if joiner.peer is None:
            is_late = silent_s > ANSWER_S
            return f"it did not say Hello within {ANSWER_S:.0f} s" if is_late else ""
        if joiner.cut_at is not None and now - joiner.cut_at > CUT_OFF_S:
            return "its connection has ended"
        speaks = joiner.stage is None or joiner.stage in training
        if speaks and silent_s > self._silent_after_s:
            return f"it was silent for {self._silent_after_s:g} s"
        return ""

    def _spare_for(self, stage: int) -> Joiner | None:
        """Who wants just this stage, who would rather have it, whose own is taken; as they came."""
        spares = [each for each in self._joiners if each.stage is None and each.peer is not None]
        for may_take in (
            lambda join: join.stage == stage and not join.is_for_any,
            lambda join: join.stage == stage,
            self._takes_any,
        ):
            for joiner in spares:
                if may_take(joiner.join):
                    return joiner
        return None

    def _takes_any(self, join: Join) -> bool:
        """Whether it takes whatever stage there is: that which it would rather have is hosted."""
        if join.stage >= self._num_stages:
            return True
        return join.is_for_any and join.stage not in self._wanted
