"""The ways in which a run may begin and end: each a row of docs/endings.md and a real test."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.beginning import Beginning
from tests.system.conftest import Launch

__all__ = ["Way", "trains"]

AS_EVER: Final = Beginning()
SHORT: Final = ("--epochs=2", "--no-baseline", "--layers=2", "--width=32")
LONG: Final = ("--epochs=100000", "--no-baseline", "--layers=2", "--width=32")
KEPT: Final = (*LONG, "--checkpoint-every=50", "--keep-checkpoints=2")


@dataclass(frozen=True)
class Way:
    """A row. name, follows: as the page has them. then: what is done to the run.

    code: of the launcher, minus the signal where one killed it. status: of report.json; "" where
    there is none, and no run directory where code is 2. says: a pattern in what was printed.
    keeps: it can be resumed. is_slow: not of the fast set.
    """

    name: str
    follows: str
    code: int
    status: str
    beginning: Beginning = AS_EVER
    flags: tuple[str, ...] = SHORT
    then: Callable[[Launch], object] = lambda run: None
    says: str = ""
    columns: int = 0
    keeps: bool = False
    is_slow: bool = False

    @property
    def row(self) -> str:
        """As it stands on the page."""
        code = f"128 + {-self.code}" if self.code < 0 else f"{self.code}"
        return f"| {self.name} | {self.follows} | {code} | {self.status or '-'} |"


def trains(run: Launch, epoch: int = 2) -> None:
    """Wait until that epoch has ended, whatever the run may print."""
    metrics = run.run_dir / "metrics.jsonl"

    def has_come() -> bool:
        return metrics.is_file() and f'"epoch": {epoch},' in metrics.read_text()

    run.wait_until(has_come)


def trains_for_good(run: Launch) -> None:
    """Wait until an epoch is over, and a checkpoint made where those are."""
    trains(run)
    if "--checkpoint-every=50" in run.arguments:
        is_kept(run)


def is_kept(run: Launch) -> None:
    """Wait until a checkpoint is whole."""
    run.wait_until(lambda: any(run.run_dir.glob("checkpoints/*[0-9]/manifest.json")))


def signalled(*signums: int, at: str = "") -> Callable[[Launch], None]:
    """Have the launcher, and its process group as a terminal does, get these while it trains.

    at: or where it says so.
    """

    def then(run: Launch) -> None:
        if at:
            run.wait_for(at)
        else:
            trains_for_good(run)
        for signum in signums:
            run.interrupt(signum)

    return then


def hang_up(run: Launch) -> None:
    """Close the terminal."""
    trains_for_good(run)
    run.hang_up()


def stop_reading(run: Launch) -> None:
    """As head does when it has its lines."""
    run.wait_for("settings:")
    run.hang_up()


NOTHING_TO_SAY: Final = "the run goes on quietly to its end"
HANGUP_IGNORED: Final = Beginning(ignored=(signal.SIGHUP,))
IN_BACKGROUND: Final = Beginning(ignored=(signal.SIGINT, signal.SIGQUIT))

OUTPUT: Final = (
    Way("`dni-launch \\| head -1`", NOTHING_TO_SAY, 0, "finished", then=stop_reading),
    Way(
        "`> /dev/full`, or onto a disk that is full",
        "one sentence on standard error, and the run goes on",
        0,
        "finished",
        Beginning(stdout="/dev/full"),
        says=r"cannot be written \(No space left on device\): the run goes on without it",
    ),
    Way(
        "`<&- >&- 2>&-`: all three closed",
        NOTHING_TO_SAY,
        0,
        "finished",
        Beginning(closed=(0, 1, 2)),
    ),
    Way(
        "the terminal is closed",
        "as at SIGHUP: the run ends, with its report and its checkpoints",
        129,
        "interrupted",
        Beginning(has_terminal=True),
        KEPT,
        hang_up,
        columns=80,
        keeps=True,
    ),
    Way(
        "the terminal is closed, under `nohup` or `setsid`",
        NOTHING_TO_SAY,
        0,
        "finished",
        Beginning(has_terminal=True, ignored=(signal.SIGHUP,)),
        (*SHORT, "--epochs=60"),
        hang_up,
        columns=80,
    ),
    Way(
        "`PYTHONIOENCODING=ascii`, or a locale with few letters",
        "what cannot be written stands there escaped",
        0,
        "finished",
        Beginning(environment=(("PYTHONIOENCODING", "ascii"),)),
        says="run directory: ",
    ),
    Way(
        "`COLUMNS=20`",
        "narrow tables",
        0,
        "finished",
        Beginning(environment=(("COLUMNS", "20"),)),
        says="run directory: ",
    ),
)
SIGNALS: Final = (
    Way(
        "`nohup dni-launch`, then SIGHUP",
        "the signal is ignored",
        0,
        "finished",
        HANGUP_IGNORED,
        (*SHORT, "--epochs=60"),
        signalled(signal.SIGHUP),
    ),
    Way(
        "`dni-launch &` in a script, then SIGINT",
        "the signal is ignored",
        0,
        "finished",
        IN_BACKGROUND,
        (*SHORT, "--epochs=60"),
        signalled(signal.SIGINT),
    ),
    Way(
        "started with SIGTERM ignored, then SIGTERM",
        "the signal is ignored",
        0,
        "finished",
        Beginning(ignored=(signal.SIGTERM,)),
        (*SHORT, "--epochs=60"),
        signalled(signal.SIGTERM),
    ),
    Way(
        "started with SIGCHLD and SIGPIPE ignored",
        "nothing else than otherwise",
        0,
        "finished",
        Beginning(ignored=(signal.SIGCHLD, signal.SIGPIPE)),
        ("--epochs=1", "--layers=2", "--width=32"),
    ),
    Way(
        "SIGTERM, as by `timeout`, `kill` or a scheduler",
        "the run ends, with its report and its checkpoints",
        143,
        "interrupted",
        flags=KEPT,
        then=signalled(signal.SIGTERM),
        says=r"digits \(interrupted\)",
        keeps=True,
    ),
    Way(
        "SIGHUP",
        "the same",
        129,
        "interrupted",
        flags=KEPT,
        then=signalled(signal.SIGHUP),
        says=r"digits \(interrupted\)",
        keeps=True,
    ),
    Way(
        "Ctrl-C before the workers are started",
        "no run directory, or one with a report",
        130,
        "interrupted or none",
        flags=LONG,
        then=signalled(signal.SIGINT, at="settings:"),
    ),
    Way(
        "Ctrl-C while the workers start",
        "the run ends, with its report",
        130,
        "interrupted",
        flags=LONG,
        then=signalled(signal.SIGINT, at="run directory"),
    ),
    Way(
        "Ctrl-C while it trains",
        "the run ends, with its report and its checkpoints",
        130,
        "interrupted",
        flags=KEPT,
        then=signalled(signal.SIGINT),
        says=r"digits \(interrupted\)",
        keeps=True,
    ),
    Way(
        "Ctrl-C with `--unlock forward`",
        "the same",
        130,
        "interrupted",
        flags=(*LONG, "--unlock=forward"),
        then=signalled(signal.SIGINT),
        says=r"digits \(interrupted\)",
        is_slow=True,
    ),
    Way(
        "Ctrl-C between the run and its baselines",
        "the run ends, with its report",
        130,
        "interrupted",
        flags=("--epochs=1", "--width=512"),
        then=signalled(signal.SIGINT, at="dni +epoch   1"),
        says=r"digits \(interrupted\)",
    ),
    Way(
        "Ctrl-C while a baseline trains",
        "the run ends, with a report of what was trained",
        130,
        "interrupted",
        flags=("--epochs=30", "--layers=2", "--width=512"),
        then=signalled(signal.SIGINT, at="baseline-1-thread +epoch   1"),
        says=r"digits \(interrupted\)",
    ),
    Way(
        "SIGQUIT (Ctrl-\\\\), or `kill -9` of the launcher",
        "the workers leave within 5 s, with a last checkpoint",
        -signal.SIGQUIT,
        "",
        flags=KEPT,
        then=signalled(signal.SIGQUIT),
        keeps=True,
    ),
)
WAYS: Final = (*OUTPUT, *SIGNALS)
