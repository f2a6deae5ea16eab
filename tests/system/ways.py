"""The ways in which a run may begin and end: each a row of docs/endings.md and a real test."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

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
    keeps: it can be resumed. is_slow: not of the fast set. is_tidy: nothing is half written.
    prepares: the folder that it is tried in, which {here} stands for. run_dir: where the run is
    kept, else run in that folder.
    prefix: a command that starts it from nothing, as a user does.
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
    is_tidy: bool = True
    run_dir: str = ""
    prefix: tuple[str, ...] = ()
    prepares: Callable[[Path], object] = lambda here: None

    def begun_in(self, here: Path) -> Beginning:
        """How it begins there."""
        told = self.beginning
        return dataclasses.replace(
            told,
            mounts=told.mounts.replace("{here}", str(here)),
            folder=told.folder.replace("{here}", str(here)),
            environment=tuple((k, v.replace("{here}", str(here))) for k, v in told.environment),
        )

    @property
    def row(self) -> str:
        """As it stands on the page."""
        code = f"128 + {-self.code}" if self.code < 0 else f"{self.code}"
        return f"| {self.name} | {self.follows} | {code} | {self.status or '-'} |"


def a_run_in(run_dir: Path) -> None:
    """What a run leaves that an overwritten one would lose."""
    run_dir.mkdir()
    (run_dir / "config.toml").touch()
    (run_dir / "report.json").write_text('{"status": "finished"}', encoding="utf-8")


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
            with suppress(ProcessLookupError):  # it may have ended by the first already
                run.interrupt(signum)
            psutil.wait_procs(run.alive(), timeout=0.1)  # at once they would be one

    return then


def hang_up(run: Launch) -> None:
    """Close the terminal."""
    trains_for_good(run)
    run.hang_up()


def stop_reading(run: Launch) -> None:
    """As head does when it has its lines."""
    run.wait_for("settings:")
    run.hang_up()


def stand_still(run: Launch) -> None:
    """As a pager or a terminal does that was stopped: the pipe fills up, and nobody reads."""
    assert run.process.stdout is not None
    pipe = run.process.stdout.fileno()
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
    run.wait_until(lambda: held(pipe) > 4096 - 100, reads=False)  # an epoch's line has no room
    run.interrupt()
    run.process.wait(20)


def held(pipe: int) -> int:
    """Bytes that wait in it."""
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]


NOTHING_ELSE: Final = "nothing else than otherwise"
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
        "a reader that does not read (`\\| less`, Ctrl-S), then Ctrl-C",
        "the workers train on; at the signal what is not read within a second is lost",
        130,
        "interrupted",
        flags=LONG,
        then=stand_still,
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
        NOTHING_ELSE,
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
        "Ctrl-C twice",
        "the same; a checkpoint that was being made may stay unfinished until `--resume`",
        130,
        "interrupted",
        flags=KEPT,
        then=signalled(signal.SIGINT, signal.SIGINT),
        keeps=True,
        is_tidy=False,
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
REFUSED: Final = "one sentence with what to do, before a run directory is made"
HERE: Final = "{here}"  # the folder that a way is tried in
SMALL_DISK: Final = "mkdir {here}/disk && mount -t tmpfs -o size=SIZE tmpfs {here}/disk"


def on_disk(size: str) -> Beginning:
    """With a file system of that size in the folder."""
    return Beginning(mounts=SMALL_DISK.replace("SIZE", size))


HOST: Final = (
    Way(
        "`TMPDIR` with a path of 90 characters",
        "a shorter folder holds the sockets",
        0,
        "finished",
        Beginning(environment=(("TMPDIR", "{here}/" + 90 * "x"),)),
        prepares=lambda here: (here / (90 * "x")).mkdir(),
    ),
    Way(
        "`TMPDIR` names nothing that can be written to",
        "another folder is taken",
        0,
        "finished",
        Beginning(environment=(("TMPDIR", "/proc/self"),)),
    ),
    Way(
        "a run directory whose path is no UTF-8",
        REFUSED,
        2,
        "none",
        says="run_dir: .* is no UTF-8, .* give it another name",
        run_dir=os.fsdecode(b"{here}/\xff/run"),
        prepares=lambda here: os.mkdir(bytes(here) + b"/\xff"),
    ),
    Way(
        "the loopback is down, with `--transport tcp`",
        REFUSED,
        2,
        "none",
        Beginning(network=":"),
        (*SHORT, "--transport=tcp"),
        says=r"tcp: 127\.0\.0\.1: Network is unreachable, .* \(ip link set lo up\)",
    ),
    Way("the loopback is down, without it", NOTHING_ELSE, 0, "finished", Beginning(network=":")),
    Way(
        "`HOME` unset, with `--data mnist` that is still to be fetched",
        REFUSED,
        2,
        "none",
        Beginning(user=12345, is_bare=True),
        ("--data=mnist",),
        says="data_dir: .* there is none here .* by --data-dir",
    ),
    Way(
        "a user id that has no entry and no home, as in many containers",
        NOTHING_ELSE,
        0,
        "finished",
        Beginning(user=12345, is_bare=True),
    ),
    Way("`env -i`, as by cron", NOTHING_ELSE, 0, "finished", Beginning(is_bare=True)),
    Way("as process 1 of a container", NOTHING_ELSE, 0, "finished", Beginning(is_first=True)),
    Way(
        "process 1 of a container, at SIGTERM (`docker stop`)",
        "the run ends, with its report and its checkpoints",
        143,
        "interrupted",
        Beginning(is_first=True),
        KEPT,
        signalled(signal.SIGTERM),
        keeps=True,
    ),
    Way(
        "without `/dev/shm`, or with a full one",
        NOTHING_ELSE,
        0,
        "finished",
        Beginning(mounts="mount -t tmpfs -o ro tmpfs /dev/shm"),
    ),
    Way(
        "in a folder that is read-only, `--run-dir` elsewhere",
        NOTHING_ELSE,
        0,
        "finished",
        Beginning(
            mounts="mkdir {here}/disk && mount -t tmpfs -o ro tmpfs {here}/disk",
            folder="{here}/disk",
        ),
    ),
    Way(
        "`--run-dir` on a file system that is read-only",
        REFUSED,
        2,
        "none",
        Beginning(mounts="mkdir {here}/disk && mount -t tmpfs -o ro tmpfs {here}/disk"),
        says="run_dir: .*: Read-only file system",
        run_dir="{here}/disk/run",
    ),
    Way(
        "`--run-dir` on a disk with no room for the network",
        REFUSED,
        2,
        "none",
        on_disk("40k"),
        says="run_dir: .* has room for 40 KB, .* needs 83 KB there",
        run_dir="{here}/disk/run",
    ),
    Way(
        "`ulimit -f` below the size of the network",
        REFUSED,
        2,
        "none",
        Beginning(limits=(("RLIMIT_FSIZE", 4000),)),
        says=r"run_dir: a file may have 4 KB here, .* \(ulimit -f\)",
    ),
    Way(
        "`ulimit -n` below what the stages need",
        REFUSED,
        2,
        "none",
        Beginning(limits=(("RLIMIT_NOFILE", 40),)),
        says=r"stages: 2 of them need \d+ open files, but 40 are allowed",
    ),
    Way(
        "`ulimit -u` below what the stages need",
        REFUSED,
        2,
        "none",
        Beginning(user=12346, limits=(("RLIMIT_NPROC", 3),)),
        says=r"stages: 2 of them need 20 processes and threads, but only \d+ more are",
    ),
    Way(
        "`--run-dir` that holds a run already",
        REFUSED,
        2,
        "finished",
        says="already holds a run; choose another or say --overwrite",
        prepares=lambda here: a_run_in(here / "run"),
    ),
    Way(
        "a control group that grants 0.5 cores",
        "a line says so, and the run goes on",
        0,
        "finished",
        Beginning(quota=0.5),
        says=r"quota: 1 of \d+ \(affinity \d+, quota 0\.5\): threads that use up the quota",
    ),
    Way(
        "`nice -n 10`",
        NOTHING_ELSE,
        0,
        "finished",
        Beginning(nice=10),
        is_slow=True,
    ),
)


def kill_a_worker(signum: int) -> Callable[[Launch], None]:
    """That of stage 1, while it trains."""

    def then(run: Launch) -> None:
        pid = run.worker_pids()[1]
        run.wait_for("epoch +2 ")
        os.kill(pid, signum)

    return then


def kill_the_launcher(run: Launch) -> None:
    """It alone."""
    trains_for_good(run)
    run.process.kill()


REPLACED: Final = "it is replaced, and the run goes on"
KILLED: Final = (
    Way(
        "`kill -9` of a worker",
        REPLACED,
        0,
        "finished",
        flags=(*SHORT, "--epochs=100"),
        then=kill_a_worker(signal.SIGKILL),
        says="stage 1 .* was killed by SIGKILL",
    ),
    Way(
        "`kill -40` of a worker, or any other signal",
        REPLACED,
        0,
        "finished",
        flags=(*SHORT, "--epochs=100"),
        then=kill_a_worker(40),
        says="stage 1 .* was killed by signal 40",
        is_slow=True,
    ),
    Way(
        "`kill -9` of a worker, with `--max-restarts 0`",
        "the run ends with 128 + signal, and its report",
        137,
        "failed",
        flags=(*LONG, "--max-restarts=0"),
        then=kill_a_worker(signal.SIGKILL),
        says="stage 1 .* was killed by SIGKILL",
    ),
    Way(
        "`kill -9` of the launcher, without checkpoints",
        "the workers leave within 5 s",
        -signal.SIGKILL,
        "",
        flags=LONG,
        then=kill_the_launcher,
    ),
)
AS_USERS_DO: Final = (
    Way(
        "`timeout 20 dni-launch`",
        "SIGTERM, as above; 124 is what `timeout` ends with",
        124,
        "interrupted",
        flags=LONG,
        prefix=("timeout", "20"),
        is_slow=True,
    ),
    Way(
        "`nohup setsid nice dni-launch`",
        NOTHING_ELSE,
        0,
        "finished",
        prefix=("nohup", "setsid", "--wait", "nice"),
        is_slow=True,
    ),
    Way(
        "`sh -c 'dni-launch & wait'`, then SIGINT",
        "the signal is ignored",
        0,
        "finished",
        flags=(*SHORT, "--epochs=200"),
        then=signalled(signal.SIGINT),
        prefix=("sh", "-c", 'trap "" INT; "$@" & wait $!', "sh"),
        is_slow=True,
    ),
    Way(
        "`bash -c 'set -o pipefail; dni-launch \\| head -2'`",
        NOTHING_TO_SAY,
        0,
        "finished",
        prefix=("bash", "-c", 'set -o pipefail; "$@" | head -2', "bash"),
        is_slow=True,
    ),
    Way(
        "`env -i dni-launch`, as cron starts it",
        NOTHING_ELSE,
        0,
        "finished",
        prefix=("env", "-i"),
        is_slow=True,
    ),
)
WAYS: Final = (*OUTPUT, *SIGNALS, *KILLED, *HOST, *AS_USERS_DO)
