"""Start the real launcher, watch it, and hold it to leaving nothing behind."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from launcher.processes import command_for

DEADLINE_S = 60.0


class Launch:
    """One ``dni-launch`` process with its own temporary folder and a mark on all its children."""

    def __init__(self, folder: Path, arguments: list[str], run_dir: Path | None = None) -> None:
        resumed = [Path(after) for flag, after in pairwise(arguments) if flag == "--resume"]
        self.run_dir = resumed[0] if resumed else run_dir or folder / "run"
        place = [] if resumed else ["--run-dir", str(self.run_dir)]
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.output = ""
        self._mark = f"DNI_TEST_MARK={uuid.uuid4()}"
        name, _, value = self._mark.partition("=")
        self.process = subprocess.Popen(
            command_for("launcher.cli", *arguments, *place),
            cwd=folder,
            env={**os.environ, "TMPDIR": str(self.temporary), name: value, "COLUMNS": "120"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_for(self, pattern: str, deadline_s: float = DEADLINE_S) -> re.Match[str]:
        """Read output until pattern appears."""
        deadline = time.monotonic() + deadline_s
        while not (found := re.search(pattern, self.output)):
            if not self._read(deadline):
                pytest.fail(f"{pattern!r} did not appear in:\n{self.output}")
        return found

    def worker_pids(self) -> dict[int, int]:
        """Stage -> pid, once all have started."""
        listed = self.wait_for(r"workers started in .*stage:pid ([\d: ]+)\)").group(1)
        return {int(part.split(":")[0]): int(part.split(":")[1]) for part in listed.split()}

    def interrupt(self, signum: int = signal.SIGINT) -> None:
        """As Ctrl-C in a terminal does: to the launcher's process group."""
        os.killpg(self.process.pid, signum)

    def end(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for the launcher's end; its exit code."""
        deadline = time.monotonic() + deadline_s
        while self._read(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def report(self) -> dict[str, Any]:
        """The run's report.json."""
        report: dict[str, Any] = json.loads((self.run_dir / "report.json").read_text())
        return report

    def alive(self) -> list[psutil.Process]:
        """Every process that carries this launch's mark."""
        found = []
        for process in psutil.process_iter():
            try:
                marked = self._mark.encode() in Path(f"/proc/{process.pid}/environ").read_bytes()
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (OSError, psutil.Error):
                continue
        return found

    def assert_nothing_left(self, deadline_s: float = 5.0) -> None:
        """No process, no temporary file, no half-written file in the run directory."""
        deadline = time.monotonic() + deadline_s
        while self.alive() and time.monotonic() < deadline:
            psutil.wait_procs(self.alive(), timeout=0.1)
        assert self.alive() == []
        assert list(self.temporary.iterdir()) == []
        assert list(self.run_dir.rglob("*.part")) == []

    def abort(self) -> None:
        """Kill what is left, whatever the test did."""
        for process in self.alive():
            process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self, deadline: float) -> bool:
        """Read what is there, waiting at most until deadline; False at the end of output."""
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            pytest.fail(f"nothing was printed any more after:\n{self.output}")
        part = os.read(fd, 65536)
        self.output += part.decode()
        return bool(part)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launch]]:
    """Start launchers; whatever the test does, all their processes are gone after it."""
    launched: list[Launch] = []

    def start(*arguments: str, run_dir: Path | None = None) -> Launch:
        folder = tmp_path / f"launch-{len(launched)}"
        launched.append(Launch(folder, list(arguments), run_dir))
        return launched[-1]

    yield start
    for each in launched:
        each.abort()
