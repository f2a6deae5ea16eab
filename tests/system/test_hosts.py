"""Runs over hosts of their own: namespaces with a network between, where root may make them."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from benchmarks.harness.hosts.hosts import Host, check_hosts, far_hosts, hosts
from benchmarks.harness.hosts.joined_run import JoinedRun, joined_run
from dni_async import ConfigError, DniError
from dni_async.config.assembly import make_recorded_machine
from dni_async.decisions.event_log import replay

pytestmark = pytest.mark.system
FLAGS = ("--layers=3", "--width=64", "--epochs=100000", "--no-baseline")
CUT_S = 2.0
DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
def _may_make_hosts() -> None:
    """Skips where this is not to be had."""
    try:
        check_hosts()
        with hosts(1):
            pass
    except (ConfigError, DniError) as error:
        pytest.skip(str(error))


def wait_for_epochs(run: JoinedRun, count: int) -> None:
    """Until so many more have ended."""
    goal, deadline = run.num_epochs + count, time.monotonic() + DEADLINE_S
    while run.num_epochs < goal:
        assert time.monotonic() < deadline, run.output[-2000:]
        time.sleep(0.05)


def hold(seconds: float) -> None:
    """Let the network be as it is for that long; that is what is tested."""
    time.sleep(seconds)


def test_a_host_that_is_cut_off_and_back_loses_nothing() -> None:
    with hosts(3, megabits=100.0) as made, joined_run(made, *FLAGS) as run:
        run.wait_for(r"epoch +3 ")
        made[1].cut()
        hold(CUT_S)
        made[1].heal()
        wait_for_epochs(run, 3)
        assert "lost" not in run.output
        assert "silent" not in run.output


@pytest.mark.slow
def test_a_host_that_stays_away_is_replaced_by_a_spare() -> None:
    with hosts(4) as made, joined_run(made[:3], *FLAGS, "--silent-after-s=3") as run:
        run.wait_for("workers started")
        run.add_spare(made[3])
        run.wait_for("waiting for a stage")
        made[1].cut()
        run.wait_for(r"stage 1 .* was lost: it was silent for 3 s")
        run.wait_for("stage 1 trains again")
        wait_for_epochs(run, 3)
        made[1].heal()  # it is told to leave, and has nobody to talk to
        assert run.workers[1].wait(DEADLINE_S) in (0, 1)
        wait_for_epochs(run, 3)


@pytest.mark.slow
def test_hosts_may_be_far_away() -> None:
    with far_hosts(3, 0.02) as made, joined_run(made.hosts, *FLAGS) as run:
        run.wait_for(r"epoch +3 ")
        assert ping_ms(made.hosts[0], made.hosts[2]) >= 40.0


@pytest.mark.slow
def test_a_window_widens_over_distance(tmp_path: Path) -> None:
    flags = ("--layers=2", "--width=16", "--batch-size=8", "--epochs=40", "--no-baseline")
    flags += ("--window=auto", "--stages=2", "--record-events")
    with far_hosts(2, 0.03) as made, joined_run(made.hosts, *flags) as run:
        report = run.end()
        shutil.copytree(run.run_dir / "events", tmp_path / "events")
    (link,) = report["runs"][0]["links"]
    assert link["window"] > 16
    # What was decided follows from what was heard, the wider windows too.
    events = tmp_path / "events/stage-0.jsonl"
    with events.open(encoding="utf-8") as lines:
        assert replay(lines, make_recorded_machine)[1] is None
    assert '["WindowSet",32]' in events.read_text()


def ping_ms(near: Host, far: Host) -> float:
    """From one host to the other and back."""
    import re
    import subprocess

    command = near.command("python3", "-c", PROBE, far.address)
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"[\d.]+", told)
    assert found is not None
    return 1000 * float(found.group())


# A connection is refused after one round trip; ping is not everywhere.
PROBE = """
import socket, sys, time
began = time.monotonic()
try:
    socket.create_connection((sys.argv[1], 9), timeout=5)
except OSError:
    pass
print(time.monotonic() - began)
"""
