"""One worker from its first word to its last."""

from __future__ import annotations

import faulthandler
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from dni_async.errors import ConfigError, LinkError
from dni_async.gate import Guard
from dni_async.keys import read_keys
from dni_async.messages import Failed
from dni_async.system import STACK_SIGNAL, compute_in_long_slices, name_process
from dni_async.transport import ControlClient, Poller, open_sockets
from workers.handshake import Orphaned, Stopped, await_start, join
from workers.loop import WorkerLoop

__all__ = ["Assignment", "run_worker"]

MAX_TEXT_BYTES = 24_000  # two of them stay well under the header limit


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is told at birth. lifeline: a descriptor that ends when the launcher does.

    incarnation: how many workers have hosted the stage before. keys:
    the folder of the keys that tcp sockets use. is_open: they may listen beyond loopback without.
    """

    coordinator: str
    stage: int
    run_id: str
    lifeline: int | None = None
    incarnation: int = 0
    keys: str | None = None
    is_open: bool = False

    @property
    def name(self) -> str:
        """No other worker of the run has the same."""
        return f"stage-{self.stage}" + (f".{self.incarnation}" if self.incarnation else "")

    def guard(self) -> Guard:
        """Who may connect to this worker. Raises ConfigError for keys that cannot be read."""
        ring = None if self.keys is None else read_keys(Path(self.keys), "worker")
        return Guard(self.run_id, ring, is_open=self.is_open)


def run_worker(assignment: Assignment) -> int:
    """Join the run, train until it drains; the exit code.

    0 after a drain or a Stop; 1 after a failure, which the coordinator is told first.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the launcher's to handle
    signal.signal(signal.SIGTERM, _terminate)
    faulthandler.register(STACK_SIGNAL, file=2)  # needs neither the loop nor the GIL
    name_process(f"dni-stage-{assignment.stage}")
    compute_in_long_slices()
    try:
        return _take_part(assignment, assignment.guard())
    except (ConfigError, LinkError) as error:  # nobody can be told
        _say(f"Error: {error}")
        return 1


def _take_part(assignment: Assignment, guard: Guard) -> int:
    """The exit code. Raises LinkError where the coordinator cannot be reached."""
    with open_sockets(guard, _say) as sockets:
        control = sockets.control_client(assignment.coordinator, assignment.name.encode())
        poller = Poller()
        poller.watch(control)
        if assignment.lifeline is not None:
            poller.watch(assignment.lifeline)
        device = "unknown"
        try:
            seat = join(sockets, control, poller, assignment)
            device = seat.welcome.device
            loop = WorkerLoop(seat, sockets, control, poller, assignment.lifeline)
            await_start(seat, control, poller, assignment.lifeline)
            loop.run()
        except Orphaned:
            sockets.close(control)
            return 0
        except Stopped:
            return 0
        except Exception as error:
            _last_words(control, assignment, device, error)
            return 1
    return 0


def _say(sentence: str) -> None:
    """Into the worker's log."""
    print(sentence, file=sys.stderr, flush=True)


def _last_words(
    control: ControlClient, assignment: Assignment, device: str, error: Exception
) -> None:
    text = traceback.format_exc()
    print(text, file=sys.stderr, flush=True)
    summary = f"{type(error).__name__}: {error}".encode(errors="replace")[:MAX_TEXT_BYTES]
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


def _terminate(signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)
