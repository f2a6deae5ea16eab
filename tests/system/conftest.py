"""Start the real launcher, watch it, and hold it to leaving nothing behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from dni_async.launcher.places.local import command_for
from dni_async.stage.threads import prepare_torch
from tests.beginning import Beginning
from tests.marked_process import MarkedProcess

ROOT = Path(__file__).resolve().parents[2]


SMALL = ("--width=256", "--norm=none")
"""What a test's run has where the test says nothing else: soon trained, layers computed by hand."""


class Launch(MarkedProcess):
    """One ``dni-launch`` process, of a run that is SMALL unless it is resumed or a subcommand's.

    prefix: a command that becomes the one behind it. is_cold, columns, beginning: see
    MarkedProcess.
    """

    def __init__(
        self,
        folder: Path,
        arguments: list[str],
        run_dir: Path | None = None,
        prefix: Sequence[str] = (),
        *,
        is_cold: bool = False,
        columns: int = 0,
        beginning: Beginning | None = None,
    ) -> None:
        resumed = [Path(after) for flag, after in pairwise(arguments) if flag == "--resume"]
        self.arguments = arguments
        self.run_dir = resumed[0] if resumed else run_dir or folder / "run"
        folder.mkdir(parents=True, exist_ok=True)
        place = [] if resumed else ["--run-dir", str(self.run_dir)]
        is_sized = resumed or arguments[:1] == ["demo"]
        arguments = arguments if is_sized else [*SMALL, *arguments]
        super().__init__(
            [*prefix, *command_for("dni_async.launcher.cli", *arguments, *place)],
            cwd=folder,
            environment={"COLUMNS": str(columns or 120), **({"TERM": "xterm"} if columns else {})},
            is_cold=is_cold,
            columns=columns,
            beginning=beginning,
        )

    def worker_pids(self) -> dict[int, int]:
        """Stage -> pid, once all have started."""
        listed = self.wait_for(r"workers started in .*stage:pid ([\d: ]+)\)").group(1)
        return {int(part.split(":")[0]): int(part.split(":")[1]) for part in listed.split()}

    def report(self) -> dict[str, Any]:
        """The run's report.json."""
        report: dict[str, Any] = json.loads((self.run_dir / "report.json").read_text())
        return report

    def assert_nothing_left(self, deadline_s: float = 5.0, *, but: Path | None = None) -> None:
        """No process, no temporary file, no half-written file in the run directory."""
        assert self.left_after(deadline_s) == []
        assert [path for path in self.temporary.iterdir() if path != but] == []
        assert list(self.run_dir.rglob("*.part")) == []


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Launch]:
    """A run with these flags that has ended well, and of which tests look at what it left.

    Who asks for the same flags again gets the same run, so nobody changes it. is_cold: its first
    asker wants it started as a user does.
    """
    runs: dict[tuple[str, ...], Launch] = {}

    def run(*arguments: str, is_cold: bool = False) -> Launch:
        if arguments not in runs:
            folder = tmp_path_factory.mktemp("finished") / "launch"
            launched = Launch(folder, list(arguments), is_cold=is_cold)
            try:
                assert launched.end() == 0, launched.output
                launched.assert_nothing_left()
            finally:
                launched.abort()
            runs[arguments] = launched
        return runs[arguments]

    return run


@pytest.fixture
def as_in_a_worker() -> Iterator[None]:
    """One thread and no denormals, as the processes of a run have it; undone afterwards."""
    num_threads = torch.get_num_threads()
    prepare_torch(1)
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(num_threads)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launch]]:
    """Start launchers; whatever the test does, all their processes are gone after it."""
    launched: list[Launch] = []

    def start(
        *arguments: str,
        run_dir: Path | None = None,
        prefix: Sequence[str] = (),
        columns: int = 0,
        beginning: Beginning | None = None,
    ) -> Launch:
        folder = tmp_path / f"launch-{len(launched)}"
        launched.append(
            Launch(folder, list(arguments), run_dir, prefix, columns=columns, beginning=beginning)
        )
        return launched[-1]

    yield start
    for each in launched:
        each.abort()


class Script(MarkedProcess):
    """A Python program of a user's in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        program: Path,
        *,
        is_cold: bool,
        beginning: Beginning | None = None,
    ) -> None:
        self.folder = folder
        super().__init__(
            [sys.executable, "-u", str(program)],
            cwd=folder,
            environment={"PYTHONPATH": str(ROOT)},
            is_cold=is_cold,
            beginning=beginning,
        )

    def left(self) -> list[str]:
        """What lies in the temporary folder once no process is left."""
        assert self.left_after(10) == []
        return sorted(path.name for path in self.temporary.iterdir())


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """Start scripts; whatever the test does, all their processes are gone after it."""
    started: list[Script] = []

    def start(
        program: str | Path,
        *,
        is_cold: bool = False,
        beginning: Beginning | None = None,
        **files: str,
    ) -> Script:
        folder = tmp_path / f"script-{len(started)}"
        folder.mkdir()
        if isinstance(program, str):
            files["script"], program = program, folder / "script.py"
        for name, content in files.items():
            (folder / f"{name}.py").write_text(content, encoding="utf-8")
        started.append(Script(folder, program, is_cold=is_cold, beginning=beginning))
        return started[-1]

    yield start
    for each in started:
        each.abort()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB, where one can be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
