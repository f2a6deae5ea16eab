"""One examination: look at the host, then at the links to peers, and tell each finding at once."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from dni_async.addresses import address_towards
from dni_async.errors import WireError
from dni_async.launcher.doctor.finding import Finding
from dni_async.launcher.doctor.host.facts import (
    installed,
    look_at_host,
    look_at_listening,
    look_at_sharing,
    look_at_torch,
)
from dni_async.launcher.doctor.link.access import Access
from dni_async.launcher.doctor.link.findings import (
    Figures,
    Load,
    Reach,
    judge_answer,
    judge_link,
    judge_reach,
)
from dni_async.launcher.doctor.link.measure import Conversation
from dni_async.launcher.doctor.link.reach import Address, reach, resolve
from dni_async.launcher.doctor.link.server import serve
from dni_async.launcher.doctor.link.words import Introduction
from dni_async.transport.rings import INVITATION_VARIABLE
from dni_async.transport.sockets import Sockets, open_sockets
from dni_async.transport.tcp_buffers import receive_buffer, send_buffer
from dni_async.wire.messages import PROTOCOL

__all__ = ["ANSWER_S", "Doctor", "Question"]

ANSWER_S = 5.0  # how long a peer may take to answer anything


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for. seconds: to measure with in all; access: by which keys."""

    listen: Sequence[Address]
    peers: Sequence[Address]
    serve: Address | None
    access: Access
    seconds: float
    silence_s: float
    width: int
    batch_size: int


@dataclass(slots=True)
class Doctor:
    """findings, and figures of the links by their peer's address, as they come. found: hears each.

    note: hears sentences that are no finding.
    """

    question: Question
    found: Callable[[Finding], None]
    note: Callable[[str], None]
    findings: list[Finding] = field(default_factory=list)
    links: dict[str, Figures] = field(default_factory=dict)
    may_serve: bool = True

    def examine(self) -> None:
        """All but to serve."""
        question = self.question
        for finding in look_at_host():
            self._tell(finding)
        findings, facts = look_at_torch(question.width, question.batch_size)
        self._tell(*findings)
        if facts is not None:
            self._tell(*look_at_sharing(facts))
        for address in question.listen:
            self._tell(look_at_listening(address))
        if question.serve is not None:
            finding = look_at_listening(question.serve)
            self.may_serve = finding.verdict != "bad"
            self._tell(finding)
        layer_s = None if facts is None else float(facts["layer_s"])
        load = Load(question.width, question.batch_size, layer_s)
        if question.peers:
            with open_sockets(question.access.visits, self.note) as sockets:
                for peer in question.peers:
                    self._visit(sockets, peer, load)

    def serve(self) -> None:
        """Answer other doctors until nobody has asked for a while. Raises LinkError."""
        question = self.question
        assert question.serve is not None
        invitation = question.access.invitation
        address = f"tcp://{question.serve.host}:{question.serve.port}"
        with open_sockets(question.access.serves, self.note) as sockets:
            server = sockets.frame_server(address)
            self.note(
                f"serving on {server.endpoint}; ends after {question.silence_s:.0f} s in which "
                "nobody asks, or by Ctrl-C"
            )
            if invitation:
                where = _reached_at(server.endpoint)
                line = f"{INVITATION_VARIABLE}={invitation} dni-doctor --peer {where}"
                self.note(f"on another host, with what else is asked for:\n  {line}")
            serve(
                server,
                _ourselves(),
                question.silence_s,
                lambda who: self.note(f"asked by {who.host} (dni-async {who.version})"),
            )

    def _visit(self, sockets: Sockets, peer: Address, load: Load) -> None:
        found, host = _find(peer)
        finding = judge_reach(peer.text, found)
        if finding is not None:
            self._tell(finding)
            return
        channel = sockets.connected(f"tcp://{host}:{peer.port}", self.question.access.hosts)
        try:
            conversation = Conversation(channel)
            ours = _ourselves()
            theirs = conversation.introduce(ours, ANSWER_S)
            finding = judge_answer(peer.text, theirs, ours, ANSWER_S)
            self._tell(finding)
            if finding.verdict == "bad":
                return
            seconds = self.question.seconds / len(self.question.peers)
            figures = conversation.measure(seconds, ANSWER_S)
            if figures is None:
                silent = Reach("silent", ANSWER_S)
                self._tell(*filter(None, [judge_reach(peer.text, silent)]))
                return
        except WireError as error:
            what = f"says what cannot be understood: {error}"
            remedy = "install the same dni-async at both ends"
            self._tell(Finding(f"peer {peer.text}", "bad", what, remedy))
            return
        finally:
            sockets.close(channel)
        self.links[peer.text] = figures
        self._tell(*judge_link(figures, load, send_buffer(), receive_buffer()))

    def _tell(self, *findings: Finding) -> None:
        for finding in findings:
            self.findings.append(finding)
            self.found(finding)


def _ourselves() -> Introduction:
    return Introduction(platform.node(), installed("dni-async"), installed("torch"), PROTOCOL)


def _reached_at(endpoint: str) -> str:
    """Where others reach what listens there: on any address, on the one towards elsewhere."""
    if not endpoint.startswith("tcp://0.0.0.0:"):
        return endpoint
    with suppress(OSError):
        return f"tcp://{address_towards()}:{endpoint.rpartition(':')[2]}"
    return endpoint


def _find(peer: Address) -> tuple[Reach, str]:
    """Whether anybody answers there, and the address in numbers."""
    try:
        host = resolve(peer.host, ANSWER_S)
    except OSError as error:
        return Reach("unknown name", ANSWER_S, error.strerror or str(error)), ""
    if host is None:
        detail = f"no name server answered within {ANSWER_S:.0f} s"
        return Reach("unknown name", ANSWER_S, detail), ""
    return reach(host, peer.port, ANSWER_S), host
