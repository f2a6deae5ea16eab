"""The package as users get it: sdist, wheel, and its commands beside files named like ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import dni_async
from tests.marked_process import MarkedProcess
from tests.structure import ROOT, sources

pytestmark = [pytest.mark.system, pytest.mark.slow]

SOURCE = ("pyproject.toml", "README.md", "LICENSE", "dni_async", "launcher", "workers")
USERS_OWN = ("launcher.py", "workers.py", "types.py", "selectors.py")
SCRIPT = """
import numpy as np
from torch import nn

import dni_async
import launcher

if __name__ == "__main__":
    x = np.random.default_rng(0).standard_normal((64, 8)).astype("float32")
    data = ((x, (x.sum(1) > 0).astype("int64")),) * 2
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    result = dni_async.train(model, data, epochs=1, batch_size=16)
    print(launcher.OWN, dni_async.__file__, len(result.epochs))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """What a command of the tools printed. Fails with it where the command failed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made from the sdist that is made from a checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in SOURCE:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, checkout / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, checkout)
    made = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    run(sys.executable, "-c", made, cwd=checkout)
    (sdist,) = folder.glob("*.tar.gz")
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index")
    run(*pip, "--wheel-dir", folder, sdist, cwd=folder)
    (built,) = folder.glob(f"dni_async-{dni_async.__version__}-*.whl")
    return built


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment with the wheel in it, and what the wheel depends on."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    (site,) = place.glob("lib/python*/site-packages")
    ours = [entry for entry in sys.path if entry.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(ours))
    python = place / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index")
    run(*pip, "--force-reinstall", wheel, cwd=place)
    return python.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the user's, with files that are named like modules of ours and of Python's."""
    for name in USERS_OWN:
        (tmp_path / name).write_text("raise SystemExit(f'{__name__} of the user was imported')")
    return tmp_path


def said(folder: Path, *command: str | Path, exit_codes: tuple[int, ...] = (0,)) -> str:
    """What the command prints in folder."""
    process = MarkedProcess(
        [str(part) for part in command],
        cwd=folder,
        environment={"PYTHONPATH": "", "PATH": os.defpath},
        is_cold=True,
    )
    try:
        assert process.end() in exit_codes, process.output
        return process.output
    finally:
        process.abort()


def test_a_wheel_holds_what_the_folders_hold_and_takes_no_other_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        modules = {name for name in archive.namelist() if name.endswith(".py")}
    ours = [source for source in sources() if not source.place.startswith("benchmarks/")]
    places = {source.place for source in ours}
    assert modules == {p if p.startswith("dni_async/") else f"dni_async/{p}" for p in places}


def test_a_wheel_holds_the_pages_of_the_dashboard_with_their_licences(wheel: Path) -> None:
    place = "launcher/dashboard/static"
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith(f"dni_async/{place}/")}
    assert held == {f"dni_async/{place}/{path.name}" for path in (ROOT / place).iterdir()}
    assert f"dni_async/{place}/uPlot.LICENSE.txt" in held


def test_the_first_commands_of_the_readme_work_beside_files_named_like_ours(
    bin_folder: Path, folder: Path
) -> None:
    flags = ("--layers=2", "--epochs=1", "--no-baseline", "--run-dir=run")
    assert "run directory: run" in said(folder, bin_folder / "dni-launch", *flags)
    assert "workers of dni" in said(folder, bin_folder / "dni-report", "run")
    assert "shared memory" in said(folder, bin_folder / "dni-doctor", exit_codes=(0, 1))


def test_a_script_beside_a_launcher_of_its_own_trains(bin_folder: Path, folder: Path) -> None:
    """Python itself cannot start a script beside a types.py."""
    (folder / "types.py").unlink()
    (folder / "selectors.py").unlink()
    (folder / "launcher.py").write_text("OWN = 'mine'")
    (folder / "script.py").write_text(SCRIPT)
    last = said(folder, bin_folder / "python", "script.py").splitlines()[-1]
    assert last.startswith("mine ")
    assert str(bin_folder.parent) in last
    assert last.endswith(" 1")
