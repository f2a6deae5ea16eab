"""Folders of simulated runs are gone at their end, however that came; two runs are the same."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.simulation import outside
from tests.simulation.run import SimulatedRun
from tests.simulation.scenario import draw

LONG = """
from pathlib import Path
from tests.simulation import long_run, outside
outside._memory = lambda: Path({root!r})
long_run.CHUNK = 1
long_run.of_seeds(0, 10**6, 2, None)
"""

TWO = """
import os
from pathlib import Path
from tests.simulation import outside
outside._memory = lambda: Path({root!r})
with outside.one_folder_for_all():
    child = os.fork()
    if child == 0:
        with outside.scratch():
            os._exit(0)  # before it could remove its own
    os.waitpid(child, 0)
    print(len(list(Path({root!r}).glob("*/*"))))
"""


def test_the_folder_of_a_long_run_that_was_killed_is_swept_and_no_other(tmp_path: Path) -> None:
    code = LONG.format(root=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)  # it is at it
        (folder,) = tmp_path.iterdir()
        outside.sweep(tmp_path)
        assert folder.exists()
        process.kill()
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:  # its children end with it
        outside.sweep(tmp_path)
    assert not folder.exists()


def test_folders_of_forked_processes_go_with_that_of_the_one_they_come_from(tmp_path: Path) -> None:
    code = TWO.format(root=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert done.stdout.split() == [b"1"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", [3, 24, 26])
def test_a_seed_leaves_the_same_bytes_each_time(seed: int, tmp_path: Path) -> None:
    """Also where the disk spoils what was written, and the launcher dies."""
    found = []
    for folder in ("one", "two"):
        run = SimulatedRun(draw(seed), tmp_path / folder, is_traced=True)
        outcome = dataclasses.asdict(run.run())
        files = sorted(path for path in (tmp_path / folder).rglob("*") if path.is_file())
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
        events = [line.replace(f"{tmp_path / folder}", "") for line in run.world.events or ()]
        found.append((outcome, [path.name for path in files], digests, events))
    assert found[0][0] == found[1][0]
    assert found[0][3] == found[1][3]
    assert found[0][1:3] == found[1][1:3]
