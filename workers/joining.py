"""Offer this host to a run that was started elsewhere, and host the stage that it gives."""

from __future__ import annotations

import dataclasses
import os
import platform
import secrets
import shutil
import time
from pathlib import Path

from dni_async.addresses import address_towards
from dni_async.errors import ConfigError, HandshakeError
from dni_async.system import output
from dni_async.system.machine import available_cores, keep_memory, machine_id
from dni_async.transport.channels import ControlClient
from dni_async.transport.keys import KeyRing
from dni_async.transport.sockets import Poller, open_sockets
from dni_async.wire.foreign_text import legible
from dni_async.wire.messages import PROTOCOL, Alive, Assigned, Heartbeat, Join, Message, Stop
from dni_async.workers.startup.assignment import Assignment
from dni_async.workers.startup.own_folder import own_folder
from dni_async.workers.startup.seat import Orphaned, Stopped
from dni_async.workers.worker import run_worker

__all__ = ["EXIT_NOBODY_ANSWERED", "Offer", "join_run", "route_to"]

EXIT_NOBODY_ANSWERED = 75
ASK_AGAIN_S = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """What is offered to whom. address: tcp://HOST:PORT of the coordinator; ring: the run's keys.

    device: of this host, resolved. stage: the only one to host, None for any; unless is_exact, any
    where another hosts it. num_threads: 0 for a
    fair share. interface: the address of this host that the stage below connects to. advertised:
    what that stage is told instead. patience_s: how long to wait for an answer. token: by which
    the coordinator knows this process again.
    """

    address: str
    ring: KeyRing
    device: str
    interface: str
    stage: int | None = None
    is_exact: bool = True
    num_threads: int = 0
    advertised: str = ""
    data_dir: str = ""
    patience_s: float = 600.0
    token: str = dataclasses.field(default_factory=lambda: secrets.token_hex(8))

    def message(self) -> Join:
        """The offer as the coordinator is told of it."""
        return Join(
            protocol=PROTOCOL,
            pid=os.getpid(),
            host=platform.node(),
            machine=machine_id(),
            num_cores=available_cores(),
            num_threads=self.num_threads,
            device=self.device,
            stage=self.stage or 0,
            is_for_any=self.stage is None or not self.is_exact,
            token=self.token,
        )


def join_run(offer: Offer) -> int:
    """Host stages until the run is over; the exit code.

    0 at the run's end; 1 after a failure, or when the coordinator was lost; 75 when nobody
    answered. Raises LinkError.
    """
    keep_memory()
    with own_folder() as folder:
        return _host_stages(offer, folder)


def _host_stages(offer: Offer, folder: Path) -> int:
    while True:
        try:
            assigned = _wait_for_stage(offer)
        except Stopped as stopped:
            _say(f"the run needs nobody any more: {stopped}")
            return 0
        except HandshakeError as error:
            _say(f"Error: {error}")
            return EXIT_NOBODY_ANSWERED
        _say(f"hosting stage {assigned.stage} on {offer.device}")
        files = folder / f"{assigned.stage}.{assigned.incarnation}"
        try:
            return run_worker(_assignment(offer, assigned, str(files)))
        except Orphaned as error:
            _say(f"Error: {error}")
            return 1
        except Stopped as stopped:
            _say(f"{stopped}; joining again")
        finally:
            shutil.rmtree(files, ignore_errors=True)


def _assignment(offer: Offer, assigned: Assigned, folder: str) -> Assignment:
    return Assignment(
        coordinator=offer.address,
        stage=assigned.stage,
        run_id=assigned.run_id,
        incarnation=assigned.incarnation,
        ring=offer.ring,
        interface=offer.interface,
        advertised=offer.advertised,
        folder=folder,
        data_dir=offer.data_dir,
        ticket=assigned.ticket,
    )


def _wait_for_stage(offer: Offer) -> Assigned:
    """Join, and wait for a stage while the coordinator is heard; else join again.

    Raises Stopped when the run is over, HandshakeError when nobody answers.
    """
    message, hearing = offer.message(), _Hearing()
    limit_s = min(ASK_AGAIN_S, offer.patience_s)
    _say(f"joining {offer.address} as {message.host} (pid {message.pid}, {offer.device})")
    with open_sockets(offer.ring, _say) as sockets:
        while True:
            # Whoever listened there by mistake, or else, has spoilt the connection for good.
            peer = f"join-{message.pid}-{secrets.token_hex(4)}".encode()
            control = sockets.control_client(offer.address, peer)
            poller = sockets.waiting()
            poller.watch(control)
            try:
                assigned = _ask(control, poller, message, hearing, limit_s)
            finally:
                # A Join that nobody has read is not to be found by a run that starts later.
                sockets.close(control)
            if assigned is not None:
                return assigned
            _check_patience(hearing, offer)


@dataclasses.dataclass(slots=True)
class _Hearing:
    """When the coordinator was heard last, over whichever connection, and whether it ever was."""

    last_at: float = dataclasses.field(default_factory=time.monotonic)
    has_begun: bool = False


def _ask(
    control: ControlClient, poller: Poller, join: Join, hearing: _Hearing, limit_s: float
) -> Assigned | None:
    """The stage that is given; None where nobody was heard for limit_s."""
    control.send(join)
    while control.silent_s < limit_s:
        heard = control.receive()
        match heard:
            case Assigned():
                return heard
            case Stop(reason=reason):
                raise Stopped(reason)
            case Heartbeat():
                control.send(Alive(join.pid))
                if not hearing.has_begun:
                    alone = "a stage" if join.is_for_any else f"stage {join.stage} alone"
                    _say(f"the coordinator has answered; waiting for {alone} to host")
                hearing.last_at, hearing.has_begun = time.monotonic(), True
            case None:
                poller.wait(1.0)
            case _:
                _refuse(heard)
    return None


def _check_patience(hearing: _Hearing, offer: Offer) -> None:
    if time.monotonic() - hearing.last_at > offer.patience_s:
        raise HandshakeError(
            f"nobody answered at {offer.address} for {offer.patience_s:.0f} s; is dni-launch "
            "listening there, of the same version, with the same --keys or this invitation?"
        )


def _refuse(message: Message) -> None:
    raise HandshakeError(f"the coordinator sent {type(message).__name__}, awaited was a stage")


def route_to(address: str) -> str:
    """The address of this host from which packets go to tcp://HOST:PORT.

    Raises ConfigError when there is no way there, or the host has no address.
    """
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    try:
        return address_towards(host, int(port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"join: no way to {address}: {reason}") from error


def _say(sentence: str) -> None:
    output.complain(legible(sentence))
