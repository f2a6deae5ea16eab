"""The commands of the docs do what they say: each is run as it is written, page by page.

What they train is made short by the environment: a few updates, where no flag says more.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dni_async.launcher.places.local import command_for
from tests.documented import PAGES, arguments, blocks, commands
from tests.marked_process import MarkedProcess
from tests.structure import ROOT
from tests.system.conftest import Launch

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

MODULES = {
    "dni-launch": "dni_async.launcher.cli",
    "dni-report": "dni_async.launcher.commands.report",
    "dni-doctor": "dni_async.launcher.doctor.cli",
}
# What cannot be run here, by what is in it, and what runs it instead.
ELSEWHERE = {
    r"\bdocker(?:-compose)? ": "tests/system/test_compose.py, where an engine answers",
    r"^kubectl ": "tests/test_kuberay.py reads the file; it needs a cluster of pods",
    r"^ray |--engine ray": "tests/system/test_ray.py, where Ray is installed",
    r"^ssh |^scp |^srun |^torchrun |^export ": "tests/system/test_joining.py plays the other hosts",
    r"--workers |^dni-worker ": "tests/system/test_joining.py starts both",
    r"tcp://10\.": "tests/system/test_doctor.py, on addresses of this machine",
    r"_COMPLETE=": "tests/launcher/commands/test_completion.py has a shell ask",
    r"^pip install": "tests/test_wheel.py installs what is built",
    r"^scripts/|^\.venv/bin/python -m pytest|^mkdocs ": "that is what runs this",
    r"-m benchmarks\.cores ": "tests/benchmarks/test_commands.py, where groups may be made",
    r"-m tests\.simulation ": "tests/simulation runs the same from the checkout",
    r"cuda:": "needs GPUs",
    r"--dashboard|--serve ": "tests/system/test_dashboard.py, in a browser",
}
SHORT = {
    "DNI_EPOCHS": "1",
    "DNI_UPDATES_PER_EPOCH": "6",
    "DNI_BASELINE": "false",
    "COLUMNS": "100",
}
A_RUN = ("--layers=3", "--width=32", "--epochs=2", "--profile")
RUN = re.compile(r"\bruns/\w+|\bRUN\b|(?<= )[AB](?= |$)")  # one that the reader has
NAME = re.compile(r"^# ([\w-]+\.(?:py|toml))\b")
MNIST = Path(os.environ.get("DNI_DATA_DIR") or ROOT.parent / "shared" / "data")
HAS_MNIST = any(MNIST.glob("**/train-images-idx3-ubyte*"))
OF_MNIST = {"DNI_DATA_DIR": str(MNIST)} if HAS_MNIST else {}
OF_PAGES = {
    page.relative_to(ROOT).as_posix(): [text for block in blocks(page) for text in commands(block)]
    for page in PAGES
}


def is_elsewhere(text: str) -> bool:
    """Whether something else runs it."""
    return any(re.search(pattern, text) for pattern in ELSEWHERE)


def test_nothing_is_left_out_that_is_not_there() -> None:
    texts = [text for page in OF_PAGES.values() for text in page]
    idle = [p for p in ELSEWHERE if not any(re.search(p, text) for text in texts)]
    assert not idle


def named_blocks(name: str) -> Iterator[tuple[str, str]]:
    """The files that a page shows, by the names in their first lines."""
    for block in blocks(ROOT / name):
        found = NAME.match(block.text)
        if found:
            yield found.group(1), block.text


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path, finished: Callable[..., Launch]) -> Path:
    """A folder with what the commands of a page find in it: files, data, examples, runs."""
    runs = {run for text in OF_PAGES[request.param] for run in ("runs/one", *RUN.findall(text))}
    for run in sorted(runs):
        shutil.copytree(finished(*A_RUN).run_dir, tmp_path / run)
    for name, text in named_blocks(request.param):
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for place in ("docker", "docs/pictures"):
        (tmp_path / place).mkdir(parents=True)
    random = np.random.default_rng(0)
    parts = {
        f"{kind}_{part}": value
        for part, size in (("train", 400), ("test", 100))
        for kind, value in (
            ("x", random.standard_normal((size, 12)).astype("float32")),
            ("y", random.integers(0, 3, size)),
        )
    }
    np.savez(tmp_path / "own.npz", **parts)
    return tmp_path


def argv(text: str, desk: Path) -> tuple[list[str], Path]:
    """The command as a process is started with it, and where."""
    folder, text = desk, text.replace(" DIR", f" {MNIST}")
    if text.startswith("cd "):
        place, _, text = text.removeprefix("cd ").partition(" && ")
        folder = desk / place
    if text.startswith("python "):
        return [sys.executable, "-u", *text.split()[1:]], folder
    ((program, words),) = arguments(text)
    return command_for(MODULES[program], *(word.replace("~", str(desk)) for word in words)), folder


@pytest.mark.parametrize(
    ("desk", "name"),
    [
        pytest.param(name, name, id=name, marks=[] if name == "README.md" else pytest.mark.slow)
        for name, texts in OF_PAGES.items()
        if any(not is_elsewhere(text) for text in texts)
    ],
    indirect=["desk"],
)
def test_the_commands_of_a_page_run(name: str, desk: Path) -> None:
    for text in OF_PAGES[name]:
        if is_elsewhere(text):
            continue
        if "--data mnist" in text and not HAS_MNIST:
            place = re.search(r"--run-dir (\w+)", text)
            if place:  # the page goes on with what it would have left
                shutil.copytree(desk / "runs/one", desk / place.group(1))
            continue
        command, folder = argv(text, desk)
        process = MarkedProcess(command, cwd=folder, environment=SHORT | OF_MNIST)
        try:
            assert process.end(240.0) == 0, f"{text}\n{process.output}"
            assert process.left_after(5.0) == []
        finally:
            process.abort()


@pytest.mark.parametrize("name", ["README.md"])
def test_the_python_of_a_page_runs(name: str, tmp_path: Path) -> None:
    """All blocks of a page are one script."""
    script = tmp_path / "page.py"
    parts = [block.text for block in blocks(ROOT / name) if block.kind == "python"]
    script.write_text("\n".join(parts), encoding="utf-8")
    process = MarkedProcess([sys.executable, "-u", str(script)], cwd=tmp_path)
    try:
        assert process.end(240.0) == 0, process.output
        assert process.left_after(5.0) == []
    finally:
        process.abort()
