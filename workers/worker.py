"""One worker from its first word to its last."""

from __future__ import annotations

import faulthandler
import signal
import traceback
from types import FrameType

from dni_async.errors import DataError, LinkError
from dni_async.system import output
from dni_async.system.machine import STACK_SIGNAL, compute_in_long_slices, name_process
from dni_async.transport.interface import ControlChannel, Transport
from dni_async.transport.sockets import open_sockets
from dni_async.wire.foreign_text import legible
from dni_async.wire.messages import Failed
from dni_async.workers.startup.assignment import Assignment
from dni_async.workers.startup.connections import Connections
from dni_async.workers.startup.handshake import await_start, join
from dni_async.workers.startup.seat import Orphaned, Stopped
from dni_async.workers.training.making import make_loop

__all__ = ["run_worker"]

MAX_TEXT_BYTES = 24_000  # two of them stay well under the header limit
LAST_WORDS_S = 2.0  # for them to leave, where parts of files are before them
LEAVE_S = 2.0  # for neighbours to be done with a GPU's memory that they share with this process


def run_worker(assignment: Assignment) -> int:
    """Take the stage, train until it drains; the exit code.

    0 after a drain or a Stop; 1 after a failure, which the coordinator is told first. Raises
    Stopped where who has joined may join again, or has lost the coordinator.
    """
    if not assignment.has_joined:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the launcher's to handle
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # as by nohup
            signal.signal(signum, _terminate)
    faulthandler.register(STACK_SIGNAL, file=2)  # needs neither the loop nor the GIL
    name_process(f"dni-stage-{assignment.stage}")
    compute_in_long_slices()
    try:
        return _take_part(assignment)
    except LinkError as error:  # nobody can be told
        _say(f"Error: {error}")
        return 1


def _take_part(assignment: Assignment) -> int:
    """The exit code. Raises LinkError where the coordinator cannot be reached."""
    with open_sockets(assignment.ring, _say) as transport:
        connections = _connect(transport, assignment)
        control, device = connections.control, "unknown"
        try:
            seat = join(connections, assignment)
            device = seat.welcome.device
            loop = make_loop(seat, connections)
            await_start(seat, connections)
            loop.run()
            control.flush(LAST_WORDS_S)
            seat.finish_links(LEAVE_S)
        except Orphaned:
            transport.close(control)
            if assignment.has_joined:
                raise
            return 0
        except Stopped as stopped:
            if assignment.has_joined and stopped.again:
                raise
            return 0
        except Exception as error:
            _last_words(control, assignment, device, error)
            return 1
    return 0


def _connect(transport: Transport, assignment: Assignment) -> Connections:
    """To the coordinator; links are made in the handshake."""
    control = transport.control_client(assignment.coordinator, assignment.peer)
    waiting = transport.waiting()
    waiting.watch(control)
    if assignment.lifeline is not None:
        waiting.watch(assignment.lifeline)
    return Connections(transport, control, waiting, assignment.lifeline)


def _say(sentence: str) -> None:
    """Into the worker's log."""
    output.complain(legible(sentence))


def _last_words(
    control: ControlChannel, assignment: Assignment, device: str, error: Exception
) -> None:
    text = traceback.format_exc()
    _say(text)
    summary = f"{type(error).__name__}: {error}".encode(errors="replace")[:MAX_TEXT_BYTES]
    if isinstance(error, DataError):  # it says all, with the traceback of the user's own code
        summary, text = str(error).encode(errors="replace")[-MAX_TEXT_BYTES:], ""
    story = text.encode(errors="replace")[-MAX_TEXT_BYTES:]  # the end says most
    control.send(
        Failed(
            run_id=assignment.run_id,
            stage=assignment.stage,
            device=device,
            summary=summary.decode(errors="ignore"),
            traceback=story.decode(errors="ignore"),
        )
    )
    control.flush(LAST_WORDS_S)


def _terminate(signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)
