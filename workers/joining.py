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
from dni_async.system import available_cores, keep_memory, machine_id, output
from dni_async.transport.channels import ControlClient
from dni_async.transport.gate import Guard
from dni_async.transport.sockets import Poller, open_sockets
from dni_async.wire.foreign_text import legible
from dni_async.wire.messages import PROTOCOL, Alive, Assigned, Heartbeat, Join, Message, Stop
from dni_async.workers.startup.assignment import Assignment
from dni_async.workers.startup.own_folder import own_folder
from dni_async.workers.startup.seat import Orphaned, Stopped
from dni_async.workers.worker import guard_of, run_worker

__all__ = ["EXIT_NOBODY_ANSWERED", "Offer", "join_run", "route_to"]

EXIT_NOBODY_ANSWERED = 75
ASK_AGAIN_S = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """What is offered to whom. address: tcp://HOST:PORT of the coordinator.

    device: of this host, resolved. stage: the only one to host, None for any. num_threads: 0 for a
    fair share. interface: the address of this host that the stage below connects to. advertised:
    what that stage is told instead. patience_s: how long to wait for an answer. token: by which
    the coordinator knows this process again.
    """

    address: str
    device: str
    interface: str
    run_id: str = ""
    stage: int | None = None
    num_threads: int = 0
    advertised: str = ""
    keys: str | None = None
    is_open: bool = False
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
            is_for_any=self.stage is None,
            token=self.token,
        )


def join_run(offer: Offer) -> int:
    """Host stages until the run is over; the exit code.

    0 at the run's end; 1 after a failure, or when the coordinator was lost; 75 when nobody
    answered. Raises ConfigError, LinkError.
    """
    guard = guard_of(offer.run_id, offer.keys, is_open=offer.is_open)
    keep_memory()
    with own_folder() as folder:
        return _host_stages(offer, guard, folder)


def _host_stages(offer: Offer, guard: Guard, folder: Path) -> int:
    while True:
        try:
            assigned = _wait_for_stage(offer, guard)
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
        keys=offer.keys,
        is_open=offer.is_open,
        interface=offer.interface,
        advertised=offer.advertised,
        folder=folder,
        data_dir=offer.data_dir,
        ticket=assigned.ticket,
    )


def _wait_for_stage(offer: Offer, guard: Guard) -> Assigned:
    """Join, and wait for a stage while the coordinator is heard.

    Raises Stopped when the run is over, HandshakeError when nobody answers.
    """
    message = offer.message()
    _say(f"joining {offer.address} as {message.host} (pid {message.pid}, {offer.device})")
    with open_sockets(guard, _say) as sockets:
        peer = f"join-{message.pid}-{secrets.token_hex(4)}".encode()
        control = sockets.control_client(offer.address, peer)
        poller = Poller()
        poller.watch(control)
        try:
            return _ask(control, poller, message, offer)
        finally:
            # A Join that nobody has read is not to be found by a run that starts later.
            sockets.close(control)


def _ask(control: ControlClient, poller: Poller, join: Join, offer: Offer) -> Assigned:
    control.send(join)
    asked_at, has_been_heard = time.monotonic(), False
    while True:
        heard = control.receive()
        match heard:
            case Assigned():
                return heard
            case Stop(reason=reason):
                raise Stopped(reason)
            case Heartbeat():
                control.send(Alive(join.pid))
                if not has_been_heard:
                    _say("the coordinator has answered; waiting for a stage to host")
                has_been_heard = True
            case None:
                _check_patience(control, offer)
                now = time.monotonic()
                if control.silent_s > ASK_AGAIN_S and now - asked_at > ASK_AGAIN_S:
                    control.send(join)
                    asked_at = now
                poller.wait(1.0)
            case _:
                _refuse(heard)


def _check_patience(control: ControlClient, offer: Offer) -> None:
    if control.silent_s > offer.patience_s:
        raise HandshakeError(
            f"nobody answered at {offer.address} for {offer.patience_s:.0f} s; is dni-launch "
            "listening there, of the same version, with the same keys or DNI_RUN_ID?"
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
