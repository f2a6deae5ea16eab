"""However a run begins, it ends as docs/endings.md says, and leaves nothing behind."""

from __future__ import annotations

import getpass
import json
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from dni_async.launcher.places.local import command_for
from tests.beginning import Beginning, remove_groups
from tests.marked_process import MarkedProcess
from tests.system.conftest import ROOT, Launch, Script
from tests.system.ways import AS_EVER, SHORT, WAYS, Way

PAGE = ROOT / "docs" / "endings.md"


@pytest.mark.system
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, marks=[pytest.mark.slow] if way.is_slow else [], id=way.name)
        for way in WAYS
    ],
)
def test_it_ends_as_the_page_says(launch: Callable[..., Launch], way: Way, tmp_path: Path) -> None:
    if not way.beginning.may_be:
        pytest.skip("no namespaces, users, mounts or groups of one's own here")
    here = tmp_path / "here"
    here.mkdir()
    open_to_all(here)
    way.prepares(here)
    run = launch(
        *way.flags,
        run_dir=Path(way.run_dir.replace("{here}", str(here))) if way.run_dir else here / "run",
        beginning=None if way.prefix else way.begun_in(here),
        prefix=way.prefix,
        columns=way.columns,
    )
    way.then(run)
    assert run.end(60) == way.code, run.output
    assert "Traceback" not in run.output
    assert way.code != 2 or "run directory: " not in run.output  # which is said once it is there
    assert run.finds(way.says), run.output
    assert run.left_after(8) == []
    remove_groups()
    assert status_of(run.run_dir) in way.status.split(" or ")
    assert list(run.temporary.iterdir()) == []
    assert (
        way.code < 0 or not way.is_tidy or list(run.run_dir.rglob("*.part")) == []
    )  # --resume drops those
    if way.keeps:
        resumed = launch("--resume", str(run.run_dir), "--epochs=3")
        assert "resumed from checkpoint" in resumed.wait_for("resumed from checkpoint").group()


def open_to_all(folder: Path) -> None:
    """Let every user make something in it."""
    for each in (folder, *folder.parents):
        if each.is_relative_to(tempfile.gettempdir()) and each.owner() == getpass.getuser():
            each.chmod(each.stat().st_mode | 0o055)
    folder.chmod(0o777)


def status_of(run_dir: Path) -> str:
    """Of its report; "" where there is none, "none" where there is no run."""
    report = run_dir / "report.json"
    if not run_dir.exists():
        return "none"
    status: str = json.loads(report.read_text())["status"] if report.is_file() else ""
    return status


def test_the_page_has_each_way_and_no_other() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| how ")]
    assert rows == [way.row for way in WAYS]


LOST = "standard output cannot be written: No space left on device"
REPORT = "dni_async.launcher.commands.report"
DOCTOR = "dni_async.launcher.doctor.cli"
ON_FULL_DISK = Beginning(stdout="/dev/full")


class Started(Protocol):
    """Starts one of our modules."""

    def __call__(self, *command: str, beginning: Beginning) -> MarkedProcess: ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Started]:
    """Start commands; whatever the test does, they are gone after it."""
    started: list[MarkedProcess] = []

    def begin(*command: str, beginning: Beginning) -> MarkedProcess:
        started.append(MarkedProcess(command_for(*command), cwd=tmp_path, beginning=beginning))
        return started[-1]

    yield begin
    for each in started:
        each.abort()


@pytest.mark.system
@pytest.mark.parametrize("flags", [["{run}"], ["{run}", "--json"], ["--help"]], ids=str)
def test_a_report_that_cannot_be_written_has_failed(
    start: Started, finished: Callable[..., Launch], flags: list[str]
) -> None:
    run_dir = str(finished(*SHORT).run_dir)
    flags = [flag.replace("{run}", run_dir) for flag in flags]
    command = start(REPORT, *flags, beginning=ON_FULL_DISK)
    assert command.end() == 1
    assert command.output == f"dni-report: {LOST}\n"


@pytest.mark.system
def test_a_report_whose_reader_leaves_has_not(
    start: Started, finished: Callable[..., Launch]
) -> None:
    command = start(REPORT, str(finished(*SHORT).run_dir), beginning=AS_EVER)
    command.hang_up()
    assert command.end() == 0


@pytest.mark.system
@pytest.mark.parametrize(
    ("command", "ready"),
    [
        ([REPORT, "--serve", "."], "dashboard: "),
        ([DOCTOR, "--serve=tcp://127.0.0.1:0", "--keys={keys}"], "serving on "),
    ],
    ids=["report", "doctor"],
)
def test_what_serves_in_the_background_of_a_script_hears_no_ctrl_c(
    start: Started, command: list[str], ready: str, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    if "--keys={keys}" in command:
        made = start("dni_async.launcher.cli", "keys", str(keys), beginning=AS_EVER)
        assert made.end() == 0, made.output
    command = [each.replace("{keys}", str(keys)) for each in command]
    server = start(*command, beginning=Beginning(ignored=(signal.SIGINT, signal.SIGHUP)))
    server.wait_for(ready)
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        server.interrupt(signum)
    assert server.end() == 143, server.output
    assert "Traceback" not in server.output


TRAINS = """
import sys
import dni_async

if __name__ == "__main__":
    trained = dni_async.train(epochs=30, layers=2, width=32, norm="none")
    print(trained.report["status"], file=sys.stderr, flush=True)
"""


@pytest.mark.system
@pytest.mark.parametrize(
    "beginning",
    [ON_FULL_DISK, Beginning(closed=(0, 1)), Beginning(ignored=(signal.SIGHUP, signal.SIGINT))],
    ids=["full disk", "closed", "ignored"],
)
def test_a_run_of_a_users_own_program_ends_as_well(
    script: Callable[..., Script], beginning: Beginning
) -> None:
    run = script(TRAINS, beginning=beginning)
    if beginning.ignored:
        run.wait_for("epoch +2 ")
        for signum in beginning.ignored:
            run.interrupt(signum)
    assert run.end() == 0, run.output
    assert run.output.splitlines()[-1:] == ["finished"]
    assert run.left() == []
